import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';

const HOME = resolve(import.meta.dirname, '../..');
const TOOL = `${HOME}/tools/pinned-python.sh`;

export const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' };
export const BUCKET = 'caisson-test';

/** The Python that has moto, made when it is not there; or the one line why there is none. */
export function s3Python(): { readonly python: string } | { readonly missing: string } {
  try {
    return { python: execFileSync('sh', [TOOL, 's3-server'], { env: { ...process.env, CAISSON_HOME: HOME }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim() };
  } catch (error) {
    return { missing: `no S3 server: ${String((error as { stderr?: string }).stderr).trim()}` };
  }
}

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly client: S3Client;
}

/** A real S3 server of its own on a port of loopback, with one bucket; it ends with this process whatever happens. */
export async function startS3(python: string): Promise<S3Server> {
  const child = spawn(python, [`${HOME}/tools/s3-server/serve.py`], { stdio: ['pipe', 'pipe', 'ignore'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const endpoint = `http://127.0.0.1:${Number(line.toString())}`;
  const client = new S3Client({ region: 'us-east-1', endpoint, forcePathStyle: true, credentials: CREDENTIALS });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET, ObjectLockEnabledForBucket: true }));
  return {
    endpoint,
    client,
    async [Symbol.asyncDispose]() {
      client.destroy();
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

/** What goes wrong with one request between the archiver and the store. */
export type Fault =
  | { readonly status: number; readonly code: string }
  /** No answer, ever. lost: the request is carried out. */
  | 'silence' | 'lost'
  /** The connection is cut: before the request is passed on, or when it has been carried out. */
  | 'reset' | 'reset after'
  /** Half of the answer, then the connection is cut. */
  | 'half'
  | { readonly slowMs: number };

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface FaultProxy extends AsyncDisposable {
  readonly endpoint: string;
  readonly seen: readonly Seen[];
  /** Decides for every request. Default: nothing goes wrong. */
  fault: (request: Seen) => Fault | undefined;
  /** Most requests that were under way at once. */
  most(): number;
}

/** A proxy before an S3 server, at which things go wrong as a test wants. */
export async function startFaults(to: string): Promise<FaultProxy> {
  const seen: Seen[] = [];
  let [underWay, most] = [0, 0];
  const server = createServer((incoming, response) => {
    const one: Seen = { method: incoming.method ?? '', path: decodeURIComponent(incoming.url ?? ''), headers: incoming.headers };
    seen.push(one);
    most = Math.max(most, (underWay += 1));
    response.once('close', () => (underWay -= 1));
    void serve({ incoming, response, to, fault: proxy.fault(one) }).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: FaultProxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    fault: () => undefined,
    most: () => most,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return proxy;
}

interface Served {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly to: string;
  readonly fault: Fault | undefined;
}

async function serve({ incoming, response, to, fault }: Served): Promise<void> {
  const body = Buffer.concat(await incoming.toArray() as Buffer[]);
  if (fault === 'silence') return;
  if (fault === 'reset') return void response.destroy();
  if (typeof fault === 'object' && 'status' in fault) {
    response.writeHead(fault.status, { 'content-type': 'application/xml' });
    return void response.end(`<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>as the test wants</Message></Error>`);
  }
  if (typeof fault === 'object') await delay(fault.slowMs);
  const answer = await forward(to, incoming, body);
  const bytes = Buffer.concat(await answer.toArray() as Buffer[]);
  if (fault === 'lost') return;
  if (fault === 'reset after') return void response.destroy();
  response.writeHead(answer.statusCode ?? 500, { ...answer.headers, 'content-length': incoming.method === 'HEAD' ? answer.headers['content-length'] : bytes.length });
  if (fault !== 'half') return void response.end(bytes);
  response.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => response.destroy());
}

async function forward(to: string, { method, url, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  const outgoing = request(`${to}${url}`, { method, headers, agent: false });
  outgoing.end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { CaissonError } from '@caisson/contract';
import { cosign, formatSignature, type Signer } from '@caisson/tlog';
import { claimOf, judge, newestOf, type Verdict, type WitnessedLog } from './judge.ts';
import { MAX_BODY_BYTES, parseRequest, SIZE_TYPE, type AddCheckpoint } from './message.ts';
import type { Records } from './records.ts';

/** Bounds of what strangers may take: connections at once, and milliseconds for head and whole of a request. */
const MAX_CONNECTIONS = 64;
const HEAD_MS = 2_000;
const REQUEST_MS = 5_000;

interface WitnessParts {
  readonly signer: Signer;
  readonly logs: readonly WitnessedLog[];
  readonly records: Records;
  /** Port 0: any that is free. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Milliseconds since 1970 UTC. */
  readonly now: () => number;
}

export interface RunningWitness extends AsyncDisposable {
  /** Where it listens, with the port that it has. */
  readonly url: string;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

/**
 * Serves `POST /add-checkpoint` (C2SP tlog-witness). Requests of one log are judged one after another, and what is signed is
 * durable before the signature is made. A record that cannot be read or written is the status 500, and nothing is signed.
 *
 * @throws CaissonError WITNESS_INVALID when it cannot listen or a record is damaged
 */
export async function startWitness({ listen, ...parts }: WitnessParts): Promise<RunningWitness> {
  for (const { origin } of parts.logs) await parts.records.read(origin);
  const add = addCheckpoint(parts);
  const limits = { headersTimeout: HEAD_MS, requestTimeout: REQUEST_MS, connectionsCheckingInterval: 500, keepAliveTimeout: REQUEST_MS, maxHeaderSize: 8 * 1024 };
  const server = createServer(limits, (request, response) => void handle(request, response, add));
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((done, reject) => {
    server.once('error', (cause) => reject(new CaissonError('WITNESS_INVALID', { detail: `it cannot listen at ${listen.host}:${listen.port} (${cause.message})` }, { cause })));
    server.listen(listen.port, listen.host, done);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new CaissonError('INTERNAL', { detail: 'a witness has no address' });
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Answers one request after another for each log. */
function addCheckpoint({ signer, logs, records, now }: Omit<WitnessParts, 'listen'>): (body: Buffer) => Promise<Answer> {
  const turns = new Map<string, Promise<unknown>>();
  const inTurn = (log: WitnessedLog, request: AddCheckpoint): Promise<Answer> => {
    const answer = (turns.get(log.origin) ?? Promise.resolve()).catch(() => undefined).then(() => one(log, request));
    turns.set(log.origin, answer);
    return answer;
  };
  const one = async (log: WitnessedLog, request: AddCheckpoint): Promise<Answer> => {
    const before = await records.read(log.origin);
    const verdict = judge(log, request, newestOf(before));
    if (!('sign' in verdict)) return refusal(verdict);
    if (!(await records.write(log.origin, before, verdict.sign))) return refusal({ status: 409, size: newestOf(await records.read(log.origin)).size });
    return { status: 200, body: formatSignature(await cosign(verdict.text, signer, now())) };
  };
  return async (body) => {
    const request = parseRequest(body);
    if ('bad' in request) return refusal({ status: 400, reason: request.bad });
    const claim = claimOf(request.checkpoint);
    if ('bad' in claim) return refusal({ status: 400, reason: `the checkpoint ${claim.bad}` });
    const log = logs.find(({ origin }) => origin === claim.origin);
    return log === undefined ? refusal({ status: 404, reason: 'no such log is known here' }) : inTurn(log, request);
  };
}

function refusal(verdict: Exclude<Verdict, { readonly sign: unknown }>): Answer {
  return verdict.status === 409 ? { status: 409, body: `${verdict.size}\n`, type: SIZE_TYPE } : { status: verdict.status, body: `${verdict.reason}\n` };
}

async function handle(request: IncomingMessage, response: ServerResponse, add: (body: Buffer) => Promise<Answer>): Promise<void> {
  response.on('error', () => undefined);
  const answer = await answerTo(request, add).catch((): Answer => ({ status: 500, body: 'the record of what was signed cannot be used\n' }));
  // What was not read of a request would be taken for the next one.
  if (!request.complete) response.setHeader('connection', 'close');
  response.writeHead(answer.status, { 'content-type': answer.type ?? 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(answer.body) }).end(answer.body);
}

async function answerTo(request: IncomingMessage, add: (body: Buffer) => Promise<Answer>): Promise<Answer> {
  if (request.url !== '/add-checkpoint') return { status: 404, body: 'there is only /add-checkpoint\n' };
  if (request.method !== 'POST') return { status: 405, body: 'it takes POST\n' };
  const body = await bodyOf(request);
  if (body === 'cut') return { status: 400, body: 'the request was cut off\n' };
  return body === 'huge' ? { status: 413, body: `at most ${MAX_BODY_BYTES} bytes are read\n` } : add(body);
}

function bodyOf(request: IncomingMessage): Promise<Buffer | 'huge' | 'cut'> {
  return new Promise((done) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= MAX_BODY_BYTES) return void parts.push(part);
      request.pause();
      done('huge');
    });
    request.on('end', () => done(Buffer.concat(parts)));
    request.on('error', () => done('cut'));
    request.on('close', () => done('cut'));
  });
}

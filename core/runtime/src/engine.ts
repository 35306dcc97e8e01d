import type { Duplex, Readable } from 'node:stream';
import type { Pool } from 'undici';

/** What a Docker daemon answered. The body is untrusted JSON, or null where there is none. */
export interface EngineReply {
  readonly status: number;
  readonly body: unknown;
}

export interface EngineCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below the version, with its query, such as `/containers/json?all=1`. */
  readonly path: string;
  readonly json?: unknown;
  /** A tar archive. */
  readonly tar?: Readable;
  readonly timeoutMs?: number;
}

/** The version that is spoken. Docker 20.10 brought it, and every later daemon takes it. */
export const ENGINE_API = '1.41';

const CALL_MS = 20_000;
const CONNECTIONS = 16;
const ANSWER_BYTES = 8 * 1024 * 1024;

/** A Docker daemon behind its socket (Docker Engine API). */
export class Engine implements AsyncDisposable {
  readonly socketPath: string;
  #pool: Promise<Pool> | undefined;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** The client is loaded when a daemon is first spoken to: most hosts have none. */
  #client(): Promise<Pool> {
    this.#pool ??= import('undici').then(({ Pool }) => new Pool('http://docker', { socketPath: this.socketPath, connections: CONNECTIONS }));
    return this.#pool;
  }

  /** @throws Error when the daemon does not answer in time; what it answers is a reply, whatever its status. */
  async call({ method, path, json, tar, timeoutMs = CALL_MS }: EngineCall): Promise<EngineReply> {
    const pool = await this.#client();
    const type = tar === undefined ? 'application/json' : 'application/x-tar';
    const { statusCode, body } = await pool.request({
      method,
      path: `/v${ENGINE_API}${path}`,
      signal: AbortSignal.timeout(timeoutMs),
      body: json === undefined ? (tar ?? null) : JSON.stringify(json),
      ...(json === undefined && tar === undefined ? {} : { headers: { 'content-type': type } }),
    });
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of body) {
      bytes += (part as Buffer).length;
      if (bytes > ANSWER_BYTES) throw new Error('the Docker daemon answers without end');
      parts.push(part as Buffer);
    }
    return { status: statusCode, body: parsed(Buffer.concat(parts).toString('utf8')) };
  }

  /** The stream of a container's stdin, stdout and stderr. */
  async attach(container: string): Promise<Duplex> {
    const pool = await this.#client();
    const path = `/v${ENGINE_API}/containers/${container}/attach?stream=1&stdin=1&stdout=1&stderr=1`;
    const { socket } = await pool.upgrade({ method: 'POST', path, protocol: 'tcp', signal: AbortSignal.timeout(CALL_MS) });
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#pool)?.destroy();
  }
}

/** An answer may be several documents, one a line: the last one says how it ended. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const last = text.trimEnd().split('\n').at(-1) ?? '';
    return last === text ? text.trim() || null : parsed(last);
  }
}

/** What the daemon says of its refusal. */
export function messageOf({ status, body }: EngineReply): string {
  const message = typeof body === 'object' && body !== null && 'message' in body ? body.message : body;
  return `the Docker daemon answered ${status}: ${String(message)}`.slice(0, 4_096);
}

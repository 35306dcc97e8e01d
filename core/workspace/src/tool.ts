import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { CaissonError } from '@caisson/contract';

/** What an operation of caisson-store failed with. */
export class ToolError extends Error {
  /** Name of the errno, such as ENOSPC. */
  readonly errno: string;
  readonly step: string;

  constructor(errno: string, step: string) {
    super(`${step}: ${errno}`);
    this.errno = errno;
    this.step = step;
  }
}

/** Takes apart the one line with which an operation answers: `ok` and fields, or `error ERRNO step`. */
export function parseReply(line: string): readonly string[] | ToolError {
  const [word, ...rest] = line.split(' ');
  if (word === 'ok') return rest;
  if (word === 'error' && rest.length > 1) return new ToolError(rest[0] ?? '', rest.slice(1).join(' '));
  return new ToolError('EPROTO', `caisson-store said ${line.slice(0, 200)}`);
}

type Server = ChildProcess & { readonly stdin: Writable; readonly stdout: Readable };

/** Starts `caisson-store serve`, which holds the store's lock. @throws CaissonError WORKSPACES_UNAVAILABLE when another has it or the program cannot run */
async function startServer(binary: string, lock: string, patienceMs: number): Promise<Server> {
  const child = spawn(binary, ['serve', lock, String(patienceMs)], { stdio: ['pipe', 'pipe', 'inherit'], env: {} });
  const [first] = (await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => ['error EIO it ended']),
    once(child, 'error').then(([error]) => [`error EIO ${String(error)}`]),
  ])) as [Buffer | string];
  const word = first.toString().trim();
  if (word === 'ready') return child;
  child.kill('SIGKILL');
  const held = word === 'error EAGAIN lock' || word === 'error EWOULDBLOCK lock';
  throw new CaissonError('WORKSPACES_UNAVAILABLE', { detail: held ? 'another launcher has them' : word });
}

/**
 * The one `caisson-store serve` of a store: it carries operations out side by side and holds the store's lock. It ends with
 * its stdin, and so with this process. When it is killed, what it was asked fails and the next operation starts it again.
 */
export class Tool implements AsyncDisposable {
  readonly binary: string;
  readonly #lock: string;
  readonly #patienceMs: number;
  readonly #waiting = new Map<string, PromiseWithResolvers<readonly string[]>>();
  #server: Promise<Server> | undefined;
  #next = 0;
  #text = '';

  private constructor(binary: string, lock: string, patienceMs: number) {
    this.binary = binary;
    this.#lock = lock;
    this.#patienceMs = patienceMs;
  }

  /** @throws CaissonError WORKSPACES_UNAVAILABLE when another has the lock or the program cannot run */
  static async start(binary: string, lock: string, patienceMs: number): Promise<Tool> {
    const tool = new Tool(binary, lock, patienceMs);
    await tool.#running();
    return tool;
  }

  #running(): Promise<Server> {
    this.#server ??= this.#start().catch((error: unknown) => {
      this.#server = undefined;
      throw error;
    });
    return this.#server;
  }

  async #start(): Promise<Server> {
    const server = await startServer(this.binary, this.#lock, this.#patienceMs);
    this.#text = '';
    server.stdin.on('error', () => undefined); // its end is seen below
    server.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    server.once('close', () => this.#fail());
    return server;
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      const space = line.indexOf(' ');
      const waiting = this.#waiting.get(line.slice(0, space));
      this.#waiting.delete(line.slice(0, space));
      const reply = parseReply(line.slice(space + 1));
      if (reply instanceof ToolError) waiting?.reject(reply);
      else waiting?.resolve(reply);
    }
  }

  #fail(): void {
    this.#server = undefined;
    for (const { reject } of this.#waiting.values()) reject(new ToolError('EPIPE', 'caisson-store has ended'));
    this.#waiting.clear();
  }

  /** Carries out one operation and resolves to the fields of its reply. @throws ToolError */
  async run(...operation: readonly string[]): Promise<readonly string[]> {
    if (operation.some((field) => field === '' || field.includes('\0'))) throw new ToolError('EINVAL', 'arguments');
    const server = await this.#running();
    const id = String(this.#next++);
    const settle = Promise.withResolvers<readonly string[]>();
    this.#waiting.set(id, settle);
    server.stdin.write(`${[id, ...operation].join('\0')}\0\0`);
    return settle.promise;
  }

  /** Resolves when the program has ended, and with it everything it was doing. */
  async [Symbol.asyncDispose](): Promise<void> {
    const server = await this.#server?.catch(() => undefined);
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.stdin.end();
    await closed;
  }
}

import { CaissonError, isErrorCode, problemOf, type Problem } from '@caisson/contract/errors';
import { connectChannel, type Channel } from './channel.ts';

/** A reply to a numbered call. */
export type Reply = { readonly call: number; readonly ok: unknown } | { readonly call: number; readonly problem: Problem };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/**
 * Request and reply over a Unix socket, many at a time. Connects on first use and again after the peer went away;
 * calls under way when it goes reject with DAEMON_UNREACHABLE, because whether they took effect is unknown.
 */
export class Caller implements Disposable {
  readonly #path: string;
  readonly #waiting = new Map<number, Waiting>();
  #channel: Promise<Channel> | undefined;
  #next = 0;
  #disposed = false;

  constructor(path: string) {
    this.#path = path;
  }

  async call(verb: string, parameters: unknown): Promise<unknown> {
    if (this.#disposed) throw new CaissonError('DAEMON_UNREACHABLE', { socket: this.#path });
    this.#channel ??= this.#connect();
    const channel = await this.#channel.catch((error: unknown) => {
      this.#channel = undefined;
      throw error;
    });
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      channel.send({ call, verb, parameters });
    });
  }

  #connect(): Promise<Channel> {
    return connectChannel(this.#path, {
      onMessage: (message) => this.#settle(message),
      onClose: () => {
        this.#channel = undefined;
        for (const waiting of this.#waiting.values()) waiting.reject(new CaissonError('DAEMON_UNREACHABLE', { socket: this.#path }));
        this.#waiting.clear();
      },
    });
  }

  #settle(message: unknown): void {
    const reply = parseReply(message);
    const waiting = this.#waiting.get(reply.call);
    this.#waiting.delete(reply.call);
    if ('ok' in reply) waiting?.resolve(reply.ok);
    else waiting?.reject(CaissonError.from(reply.problem));
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    void this.#channel?.then((channel) => channel[Symbol.dispose](), () => undefined);
  }
}

function parseReply(message: unknown): Reply {
  const reply = message as Partial<Record<'call' | 'ok' | 'problem', unknown>> | null;
  if (typeof reply !== 'object' || reply === null || typeof reply.call !== 'number') {
    throw new CaissonError('FRAME_INVALID', { detail: 'a reply without a call' });
  }
  if (!('problem' in reply)) return { call: reply.call, ok: reply.ok };
  const problem = reply.problem as Problem | null;
  if (!isErrorCode(problem?.code)) throw new CaissonError('FRAME_INVALID', { detail: 'a problem without a code' });
  return { call: reply.call, problem: { code: problem.code, message: String(problem.message), hint: String(problem.hint) } };
}

export type Verbs = Readonly<Record<string, (parameters: unknown) => Promise<unknown>>>;

/** Answers one message of a Caller. Whatever a verb throws becomes a problem in the reply. */
export async function answer(verbs: Verbs, message: unknown, channel: Pick<Channel, 'send'>): Promise<void> {
  const { call, verb, parameters } = (message ?? {}) as Partial<Record<'call' | 'verb' | 'parameters', unknown>>;
  if (typeof call !== 'number' || typeof verb !== 'string') throw new CaissonError('FRAME_INVALID', { detail: 'not a call' });
  try {
    if (!Object.hasOwn(verbs, verb)) throw new CaissonError('FRAME_INVALID', { detail: `no verb ${verb}` });
    channel.send({ call, ok: (await verbs[verb]?.(parameters)) ?? null });
  } catch (error) {
    channel.send({ call, problem: problemOf(error) });
  }
}

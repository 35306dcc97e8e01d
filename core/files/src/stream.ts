import type { CaissonError } from '@caisson/contract';
import type { Asked, Connection } from './connection.ts';
import { REPLY, violation, type Frame, type RequestFields } from './frames.ts';

/**
 * The counted replies to one request, in order. Credit goes back as they are taken, so that a slow reader holds at most
 * one window. Ending the iteration early cancels the request, at once and not only with the next reply.
 */
export class ReplyStream implements AsyncIterableIterator<Buffer, undefined> {
  readonly #queue: Buffer[] = [];
  readonly #head = Promise.withResolvers<Buffer>();
  #asked: Asked | undefined;
  #wake: (() => void) | undefined;
  #ending: 'done' | 'left' | CaissonError | undefined;

  /** @throws CaissonError when the helper is gone */
  static async open(connection: Connection, type: number, fields: RequestFields): Promise<ReplyStream> {
    const stream = new ReplyStream();
    stream.#head.promise.catch(() => undefined);
    stream.#asked = await connection.ask(type, fields, {
      reply: (frame) => stream.#take(frame),
      done: () => stream.#end('done'),
      failed: (error) => stream.#end(error),
    });
    return stream;
  }

  /** The payload of the reply that comes before all others, where the request has one. @throws CaissonError */
  get head(): Promise<Buffer> {
    return this.#head.promise;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    for (;;) {
      const payload = this.#queue.shift();
      if (payload !== undefined) {
        this.#asked?.credit(payload.length);
        return { done: false, value: payload };
      }
      if (this.#ending === 'done' || this.#ending === 'left') return { done: true, value: undefined };
      if (this.#ending !== undefined) throw this.#ending;
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.leave();
    return { done: true, value: undefined };
  }

  /** Ends the stream; what is under way is dropped. */
  leave(): void {
    if (this.#ending === undefined) this.#asked?.cancel();
    this.#queue.length = 0;
    this.#end('left');
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take({ type, payload }: Frame): void {
    if (type === REPLY.info) this.#head.resolve(payload);
    else if (this.#ending === undefined) this.#queue.push(payload);
    this.#rouse();
  }

  #end(ending: 'done' | 'left' | CaissonError): void {
    this.#ending ??= ending;
    // After a head that has come this does nothing.
    this.#head.reject(typeof ending === 'object' ? ending : violation('an end without a head'));
    this.#rouse();
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** One item after the other of replies that hold many. Asked for nothing before the first item is wanted. */
export class ItemStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #open: () => Promise<ReplyStream>;
  readonly #decode: (payload: Buffer) => Iterable<T>;
  #items: Iterator<T> | undefined;
  #replies: Promise<ReplyStream> | undefined;
  #isLeft = false;

  constructor(open: () => Promise<ReplyStream>, decode: (payload: Buffer) => Iterable<T>) {
    this.#open = open;
    this.#decode = decode;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (this.#isLeft) return { done: true, value: undefined };
      const item = this.#nextItem();
      if (item?.done === false) return { done: false, value: item.value };
      this.#replies ??= this.#open();
      const payload = await (await this.#replies).next();
      if (payload.done === true) return payload;
      this.#items = this.#decode(payload.value)[Symbol.iterator]();
    }
  }

  /** A reply that cannot be decoded is the last one that is looked at. */
  #nextItem(): IteratorResult<T> | undefined {
    try {
      return this.#items?.next();
    } catch (error) {
      void this.return();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#isLeft = true;
    await this.#replies?.then((replies) => replies.return(), () => undefined);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

import type { Duplex } from 'node:stream';
import type { CaissonError } from '@caisson/contract';
import { confinementFailure, decodeFailure, failureOf, unavailable } from './failures.ts';
import { CREDIT_BYTES, encodeFrame, encodeHeader, encodeRequest, FrameReader, REPLY, REQUEST, u32, violation, type Frame, type RequestFields } from './frames.ts';
import { shown } from './paths.ts';
import { Turns } from './turns.ts';

/** Requests that take more than one step, at a time: fewer than the helper has slots for. The others are served at once. */
const LONG_MAX = 96;
/** Archives made at a time. Each needs a second long request while it holds one, so they must not take all there are. */
const PACKS_MAX = 16;
const LONG: readonly number[] = [REQUEST.list, REQUEST.read, REQUEST.write, REQUEST.remove, REQUEST.watch, REQUEST.search];
const ID_MAX = 0xffff_ffff;

/** Where the replies to one request go. Exactly one of `done` and `failed` is called, last and once. */
export interface Replies {
  /** Any reply but the last. */
  readonly reply?: (frame: Frame) => void;
  readonly done: (payload: Buffer) => void;
  readonly failed: (error: CaissonError) => void;
}

/** A request under way. */
export interface Asked {
  send(type: number, payload?: Uint8Array): void;
  /** Gives credit back for counted replies that have been taken. */
  credit(bytes: number): void;
  /** Asks the helper to stop; `failed` is still called. */
  cancel(): void;
}

interface Open extends Replies {
  readonly path: string;
  /** The second path, of a request that has two. */
  readonly other: string;
  /** Bytes of counted replies that the helper may still send. */
  credit: number;
  /** Lets the next long request go. */
  readonly leave: () => void;
}

const COUNTED: readonly number[] = [REPLY.data, REPLY.entries, REPLY.events, REPLY.matches];

/** One helper, asked many things at a time. Ends with its socket; whatever is under way then fails. */
export class Connection {
  readonly #socket: Duplex;
  readonly #open = new Map<number, Open>();
  readonly #turns = new Turns(LONG_MAX);
  readonly packs = new Turns(PACKS_MAX);
  /** The helper's first word. A request that is sent before it could break the socket, and with it what the helper says of itself. */
  readonly #greeted = Promise.withResolvers<void>();
  #isGreeted = false;
  #lastId = 0;
  #ended: CaissonError | undefined;

  constructor(socket: Duplex) {
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) this.#take(frame);
      } catch (error) {
        this.#end(error as CaissonError);
      }
    });
    socket.on('error', (error) => this.#end(unavailable(error.message)));
    socket.on('close', () => this.#end(unavailable('the helper has ended')));
    socket.on('end', () => this.#end(unavailable('the helper has ended')));
  }

  /** Sends a request: before it returns, unless too many long ones are under way or the helper has only begun. */
  async ask(type: number, fields: RequestFields, replies: Replies): Promise<Asked> {
    const request = encodeRequest(fields); // before a turn is taken: what cannot be said must not keep one
    if (!this.#isGreeted) await this.#greeted.promise;
    const leave = LONG.includes(type) ? (this.#turns.takeNow() ?? (await this.#turns.take())) : () => undefined;
    if (this.#ended !== undefined) {
      leave();
      throw this.#ended;
    }
    const id = this.#nextId();
    this.#open.set(id, { ...replies, path: shown(fields.path), other: shown(fields.other ?? fields.path), credit: CREDIT_BYTES, leave });
    this.#socket.write(encodeFrame(type, id, request));
    return {
      send: (part, payload) => this.#send(part, id, payload),
      credit: (bytes) => this.#credit(id, bytes),
      cancel: () => this.#send(REQUEST.cancel, id),
    };
  }

  /** A request that is answered at once: resolves to the payload of its last reply. @throws CaissonError */
  async call(type: number, fields: RequestFields): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    await this.ask(type, fields, { done: resolve, failed: reject });
    return promise;
  }

  close(): void {
    this.#end(unavailable('it has been closed'));
  }

  #nextId(): number {
    do this.#lastId = this.#lastId === ID_MAX ? 1 : this.#lastId + 1;
    while (this.#open.has(this.#lastId));
    return this.#lastId;
  }

  #send(type: number, id: number, payload: Uint8Array = new Uint8Array(0)): void {
    if (!this.#open.has(id) || this.#ended !== undefined) return;
    this.#socket.cork();
    this.#socket.write(encodeHeader({ type, id, length: payload.byteLength }));
    if (payload.byteLength > 0) this.#socket.write(payload);
    this.#socket.uncork();
  }

  #credit(id: number, bytes: number): void {
    const open = this.#open.get(id);
    if (open === undefined || bytes === 0) return;
    open.credit += bytes;
    this.#send(REQUEST.credit, id, u32(bytes));
  }

  #take(frame: Frame): void {
    if (this.#ended !== undefined) return;
    if (frame.type === REPLY.hello) return this.#greet();
    if (frame.id === 0 && frame.type === REPLY.failed) throw confinementFailure(frame.payload);
    const open = this.#open.get(frame.id);
    if (open === undefined) throw violation('a reply to no request');
    if (COUNTED.includes(frame.type)) {
      open.credit -= frame.payload.length;
      if (open.credit < 0) throw violation('more bytes than there was credit for');
    }
    if (frame.type !== REPLY.done && frame.type !== REPLY.failed) {
      if (open.reply === undefined) throw violation(`a reply of type ${frame.type} that nothing asked for`);
      return open.reply(frame);
    }
    // Decoded before the request is closed: one whose end is no end fails with all the others.
    const failure = frame.type === REPLY.failed ? failureOf(decodeFailure(frame.payload), open) : null;
    this.#open.delete(frame.id);
    open.leave();
    if (failure === null) open.done(frame.payload);
    else open.failed(failure);
  }

  #greet(): void {
    this.#isGreeted = true;
    this.#greeted.resolve();
  }

  #end(error: CaissonError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#greet(); // whoever waits finds that it has ended
    this.#socket.destroy();
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { failed, leave } of open) {
      leave();
      failed(error);
    }
  }
}

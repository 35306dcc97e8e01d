import { connect, type Socket } from 'node:net';
import { CaissonError } from '@caisson/contract/errors';
import { encodeFrame, encodeMessage, FrameReader, type Frame, type FrameKind } from './frame.ts';

export interface ChannelEvents {
  /** A JSON message. What it holds is untrusted until it is parsed by a schema. */
  onMessage(message: unknown): void;
  /**
   * Raw bytes of a stream; an empty stdin frame is its end. A promise that it returns is back-pressure: nothing more is
   * read from the socket until it has settled.
   */
  onBytes?(kind: Exclude<FrameKind, 'message'>, stream: number, bytes: Buffer): unknown;
  /** Called once. The error is set when the peer broke the protocol or the socket failed. */
  onClose?(error: Error | undefined): void;
}

/** One connection between two processes of Caisson. */
export class Channel implements Disposable {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #events: ChannelEvents;
  #failure: Error | undefined;
  #drained: Promise<void> | undefined;
  #beingTaken = 0;
  #reading = false;
  #released = false;

  constructor(socket: Socket, events: ChannelEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => (this.#failure ??= error));
    socket.on('close', () => events.onClose?.(this.#failure));
  }

  #read(chunk: Buffer): void {
    this.#reading = true;
    try {
      for (const frame of this.#reader.push(chunk)) {
        this.#dispatch(frame);
        if (this.#released) break; // what follows is for whoever carries the socket on
      }
    } catch (error) {
      this.#failure = error as Error;
      this.#socket.destroy();
    } finally {
      this.#reading = false;
    }
    if (this.#released) this.#giveBack();
  }

  #giveBack(): void {
    const rest = this.#reader.takeRest();
    if (rest.length > 0 && !this.closed) this.#socket.unshift(rest);
  }

  #dispatch({ kind, stream, payload }: Frame): void {
    if (this.#socket.destroyed) return;
    if (kind !== 'message') return this.#waitFor(this.#events.onBytes?.(kind, stream, payload));
    let message: unknown;
    try {
      message = JSON.parse(payload.toString('utf8'));
    } catch {
      throw new CaissonError('FRAME_INVALID', { detail: 'a message is not JSON' });
    }
    this.#events.onMessage(message);
  }

  #waitFor(taken: unknown): void {
    if (!(taken instanceof Promise)) return;
    this.#beingTaken += 1;
    this.#socket.pause();
    const carryOn = (): void => {
      this.#beingTaken -= 1;
      if (this.#beingTaken === 0) this.#socket.resume();
    };
    taken.then(carryOn, carryOn);
  }

  get closed(): boolean {
    return this.#socket.destroyed;
  }

  /** What is sent in one breath goes in one piece: each piece wakes the peer. It does not wait for the end of the turn, which may be long. */
  send(message: unknown): void {
    if (this.closed) return;
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      queueMicrotask(() => this.#socket.uncork());
    }
    this.#socket.write(encodeMessage(message));
  }

  /** Resolves when the peer has taken enough for more to be sent, or is gone. */
  async sendBytes(kind: Exclude<FrameKind, 'message'>, stream: number, bytes: Uint8Array): Promise<void> {
    if (this.closed || this.#socket.write(encodeFrame(kind, stream, bytes))) return;
    this.#drained ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done);
        this.#drained = undefined;
        resolve();
      };
      this.#socket.on('drain', done).on('close', done);
    });
    await this.#drained;
  }

  /**
   * Gives the socket up, paused, to whoever carries it on; nothing more is read or told here. What was sent before is on
   * its way. Bytes that the peer sent after the message on which this is called at once can be read from the socket.
   */
  release(): Socket {
    this.#socket.uncork();
    this.#socket.pause();
    for (const event of ['data', 'error', 'close']) this.#socket.removeAllListeners(event);
    this.#released = true;
    if (!this.#reading) this.#giveBack();
    return this.#socket;
  }

  /** Sends what is queued, then closes. */
  end(): void {
    this.#socket.end();
  }

  [Symbol.dispose](): void {
    this.#socket.uncork(); // what was sent before is on its way
    this.#socket.destroy();
  }
}

/** A connection under way. Whatever is wrong with it is said by `connectChannel`. */
export type Connecting = Socket;

export function startConnecting(path: string): Connecting {
  return connect(path).on('error', () => undefined);
}

/**
 * Connects to a Unix socket, or takes a socket that is already on its way there.
 *
 * @throws CaissonError DAEMON_UNREACHABLE
 */
export async function connectChannel(path: string, events: ChannelEvents, early?: Connecting): Promise<Channel> {
  const socket = early ?? connect(path);
  await new Promise<void>((resolve, reject) => {
    const fail = (cause?: unknown): void => reject(new CaissonError('DAEMON_UNREACHABLE', { socket: path }, { cause }));
    if (socket.readyState === 'open') return resolve();
    if (socket.destroyed) return fail();
    socket.once('connect', resolve);
    socket.once('error', fail);
  });
  return new Channel(socket, events);
}

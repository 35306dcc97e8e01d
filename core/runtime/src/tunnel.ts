import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { CaissonError, isErrorCode } from '@caisson/contract';
import { connectChannel, type Channel } from '@caisson/wire';
import { StreamReply, type StreamRequest } from './keeper-messages.ts';
import { parseMessage } from './messages.ts';

/** The problem that a reply reports, or null for a good one. */
export function problemIn(message: unknown): CaissonError | null {
  const reply = parseMessage(StreamReply, message);
  if (reply.reply !== 'problem') return null;
  const { code, message: text, hint } = reply.problem;
  return isErrorCode(code) ? CaissonError.from({ code, message: text, hint }) : new CaissonError('INTERNAL', { detail: text });
}

/** Asks for a stream of bytes both ways. It is destroyed with the problem that the other side reports. */
export async function openTunnel(path: string, request: StreamRequest): Promise<Duplex> {
  const ready = Promise.withResolvers<void>();
  const carried: { tunnel?: Tunnel } = {};
  const channel = await connectChannel(path, {
    onMessage: (message) => {
      const reply = parseMessage(StreamReply, message);
      const error = problemIn(message);
      if (error !== null) ready.reject(error);
      if (error !== null) carried.tunnel?.destroy(error);
      else if (reply.reply === 'ready') ready.resolve();
      else carried.tunnel?.ended();
    },
    onBytes: (_kind, _stream, bytes) => carried.tunnel?.receive(bytes),
    onClose: (error) => {
      const lost = error ?? new CaissonError('SANDBOX_LOST', { detail: 'the launcher went away' });
      ready.reject(lost);
      carried.tunnel?.onClosed(lost);
    },
  });
  const tunnel = new Tunnel(channel);
  carried.tunnel = tunnel;
  channel.send(request);
  await ready.promise;
  return tunnel;
}

class Tunnel extends Duplex {
  readonly #channel: Channel;
  #ended = false;
  #wanted: (() => void) | undefined;

  constructor(channel: Channel) {
    super({ allowHalfOpen: true });
    this.#channel = channel;
    this.on('error', () => undefined); // who reads or writes is told as well
  }

  /** A promise only when the reader has had enough for now. */
  receive(bytes: Buffer): Promise<void> | undefined {
    if (this.push(bytes)) return undefined;
    return new Promise((resolve) => (this.#wanted = resolve));
  }

  /** The peer has sent everything; it may still read. */
  ended(): void {
    this.#ended = true;
    this.push(null);
  }

  /** After both halves there is nothing to lose. */
  onClosed(error: Error): void {
    if (!this.#ended) this.destroy(error);
    else if (!this.writableFinished) this.destroy();
    this.#wanted?.();
  }

  override _read(): void {
    this.#wanted?.();
    this.#wanted = undefined;
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    void this.#send(bytes, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    void this.#send(Buffer.alloc(0), done); // an empty frame is the end
  }

  async #send(bytes: Buffer, done: (error?: Error | null) => void): Promise<void> {
    await this.#channel.sendBytes('stdin', 0, bytes);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#wanted?.();
    this.#channel[Symbol.dispose]();
    done(error);
  }
}

/** Asks for a connection that is then carried on by another process, and resolves to the bare socket once it is. */
export async function handedOver(path: string, request: StreamRequest): Promise<Socket> {
  const carried = Promise.withResolvers<Socket>();
  const channel = await connectChannel(path, {
    onMessage: (message) => {
      const error = problemIn(message);
      // Given up at once: what the other process says may have come with this message, and is no frame of the channel.
      if (error === null) carried.resolve(channel.release());
      else carried.reject(error);
    },
    onClose: (error) => carried.reject(error ?? new CaissonError('SANDBOX_LOST', { detail: 'the launcher went away' })),
  });
  channel.send(request);
  return carried.promise.catch((error: unknown) => {
    channel[Symbol.dispose]();
    throw error;
  });
}

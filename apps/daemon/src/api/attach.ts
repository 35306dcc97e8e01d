import { CaissonError, TerminalSize, type ExecEvent } from '@caisson/contract';
import { Signal, signalNumber } from '@caisson/contract/api';
import { WebSocketServer, type WebSocket } from 'ws';
import { z } from 'zod';
import type { Upgrade } from './upgrade.ts';
import { problemBody } from './problems.ts';
import type { Stream } from './streams.ts';

const MESSAGE_MOST_BYTES = 256 * 1024;
/** Stdin bytes that wait for the sandbox before the connection is read no further. */
const WAITING_MOST_BYTES = 256 * 1024;
/** What a message that waits takes besides its bytes: empty ones must not wait without end. */
const MESSAGE_BYTES = 256;
/** How long a client may take to answer the closing handshake. */
const CLOSING_MS = 1_000;
const CLOSE = { done: 1000, invalid: 1008, failed: 1011, restart: 1012 } as const;

const Word = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('resize'), cols: z.int(), rows: z.int() }),
  z.strictObject({ type: z.literal('signal'), signal: Signal.shape.signal }),
  z.strictObject({ type: z.literal('end-stdin') }),
]);

export function webSockets(): WebSocketServer {
  return new WebSocketServer({ noServer: true, maxPayload: MESSAGE_MOST_BYTES, perMessageDeflate: false, clientTracking: false });
}

/**
 * A terminal's two directions on one WebSocket. To the client: binary frames of a byte that is 1 for stdout and 2 for
 * stderr, the offset as 64 bits, big-endian, and the bytes; then {type:'end'} or {type:'problem'} or {type:'drain'}. From it:
 * binary frames are stdin, text frames are resize, signal and end-stdin. Leaving ends nothing but the connection.
 */
export async function attach(upgrade: Upgrade, sockets: WebSocketServer, from: number): Promise<void> {
  const { rooms, params, request, socket, head } = upgrade;
  const [sandbox, exec] = [params['sandbox'] ?? '', params['exec'] ?? ''];
  rooms.sandboxes.execInfo(sandbox, exec);
  using stream = upgrade.streams.open(upgrade.caller);
  const client = await new Promise<WebSocket>((resolve, reject) => {
    socket.once('close', () => reject(new CaissonError('CANCELLED', { detail: 'the caller did not become a WebSocket' })));
    sockets.handleUpgrade(request, socket, head, resolve);
  });
  const heart = beat(client, upgrade.pingMs);
  try {
    listen(client, { upgrade, stream, heart, sandbox, exec });
    for await (const event of rooms.sandboxes.follow(sandbox, exec, { from, signal: stream.signal })) {
      await tell(client, event);
      stream.signal.throwIfAborted();
    }
    client.close(CLOSE.done);
  } catch (error) {
    part(client, { stream, upgrade }, error);
  } finally {
    clearInterval(heart.timer);
    setTimeout(() => client.terminate(), CLOSING_MS).unref();
  }
}

function part(client: WebSocket, { stream: { signal }, upgrade }: Pick<Attached, 'stream' | 'upgrade'>, thrown: unknown): void {
  const { reason } = signal;
  if (!signal.aborted) {
    client.send(JSON.stringify({ type: 'problem', problem: problemBody(upgrade.told(thrown)) }));
    return client.close(CLOSE.failed);
  }
  if (!(reason instanceof CaissonError) || reason.code === 'CANCELLED') return client.terminate();
  client.send(JSON.stringify(reason.code === 'DRAINING' ? { type: 'drain' } : { type: 'problem', problem: problemBody(upgrade.told(reason)) }));
  client.close(reason.code === 'DRAINING' ? CLOSE.restart : CLOSE.invalid);
  if (reason.code === 'TOKEN_INVALID') client.terminate();
}

/** Resolves when the bytes have left this process: a client that does not read holds back the follower and nothing else. */
function tell(client: WebSocket, event: ExecEvent): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (event.type === 'end') client.send(JSON.stringify(event), () => resolve());
  else client.send(frameOf(event), () => resolve());
  return promise;
}

function frameOf({ stream, offset, bytes }: Extract<ExecEvent, { type: 'output' }>): Buffer {
  const frame = Buffer.allocUnsafe(9 + bytes.byteLength);
  frame.writeUInt8(stream === 'stdout' ? 1 : 2, 0);
  frame.writeBigUInt64BE(BigInt(offset), 1);
  frame.set(bytes, 9);
  return frame;
}

interface Attached {
  readonly upgrade: Upgrade;
  readonly stream: Stream;
  readonly heart: Heart;
  readonly sandbox: string;
  readonly exec: string;
}

/** Takes what the client says in the order in which it says it. */
function listen(client: WebSocket, attached: Attached): void {
  const { stream, heart } = attached;
  let last = Promise.resolve();
  let waiting = 0;
  client.on('message', (data: Buffer, isBinary: boolean) => {
    const cost = data.length + MESSAGE_BYTES;
    waiting += cost;
    if (waiting > WAITING_MOST_BYTES) client.pause();
    const done = (): void => {
      waiting -= cost;
      if (!client.isPaused || waiting > WAITING_MOST_BYTES) return;
      heart.heard();
      client.resume();
    };
    last = last.then(() => obey(attached, data, isBinary)).catch((error: unknown) => stream.end(asError(error))).finally(done);
  });
  client.on('close', () => stream.end(new CaissonError('CANCELLED', { detail: 'the caller went away' })));
  client.on('error', () => stream.end(new CaissonError('CANCELLED', { detail: 'the caller broke the protocol' })));
}

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new CaissonError('INTERNAL', { detail: String(thrown) }));

async function obey({ upgrade, stream, sandbox, exec }: Attached, data: Buffer, isBinary: boolean): Promise<void> {
  if (stream.signal.aborted) return;
  const { sandboxes } = upgrade.rooms;
  if (isBinary) {
    if (data.length > 0) await sandboxes.stdin(sandbox, exec, data, {});
    return;
  }
  const word = wordOf(data);
  switch (word.type) {
    case 'resize': return sandboxes.resize(sandbox, exec, TerminalSize.parse({ cols: word.cols, rows: word.rows }));
    case 'signal': return sandboxes.signal(sandbox, exec, signalNumber(word.signal));
    case 'end-stdin': return sandboxes.endStdin(sandbox, exec);
  }
}

function wordOf(data: Buffer): z.output<typeof Word> {
  try {
    return Word.parse(JSON.parse(data.toString('utf8')));
  } catch {
    throw new CaissonError('REQUEST_INVALID', { detail: 'a text frame that is neither resize, signal nor end-stdin' });
  }
}

interface Heart {
  readonly timer: NodeJS.Timeout;
  /** From here on it is judged anew. */
  heard(): void;
}

/** A client that answers no ping between two is gone. What is not read is not judged: the answer may be in it. */
function beat(client: WebSocket, pingMs: number): Heart {
  let alive = true;
  const heard = (): void => void (alive = true);
  client.on('pong', heard);
  const timer = setInterval(() => {
    if (!alive && !client.isPaused) return client.terminate();
    alive = false;
    client.ping(); // also where it is not read: who is gone does not take it, which the kernel finds out
  }, pingMs);
  return { timer, heard };
}

import { CaissonError } from '@caisson/contract';

/**
 * The lanes between the launcher and pid 1 of a sandbox; native/init/lane.h is the other end and describes the frame.
 * Every byte that comes from pid 1 is untrusted.
 */
export const LANE = {
  spawn: 1, signal: 2, credit: 3, stdin: 4, resize: 5, kill: 6, dial: 7, quiesce: 8, resume: 9,
  hello: 16, started: 17, failed: 18, stdinCredit: 19, quiet: 20,
  output: 32, exit: 33, outputEnd: 34,
} as const;

export const LANE_HEADER_BYTES = 12;
export const LANE_PAYLOAD_MAX = 256 * 1024;
/** What a frame of output takes of its window at least: it costs its reader more than its bytes. */
export const FRAME_COST = 256;
/** Bytes of stdin that pid 1 buffers for one exec. */
export const STDIN_WINDOW = 64 * 1024;

export interface LaneFrame {
  readonly type: number;
  readonly stream: number;
  readonly exec: number;
  readonly payload: Buffer;
}

export function encodeLane(type: number, exec: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(LANE_HEADER_BYTES + payload.byteLength);
  frame.writeUInt32LE(payload.byteLength, 0);
  frame.writeUInt8(type, 4);
  frame.writeUInt32LE(exec, 8);
  frame.set(payload, LANE_HEADER_BYTES);
  return frame;
}

export interface SpawnPayload {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly stdin: boolean;
  readonly windowBytes: number;
  readonly capBytes: number;
  readonly tty?: TerminalSize;
}

/** Columns and rows of a terminal, 1 to 65535 each. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

const SPAWN_STDIN = 1;
const SPAWN_TTY = 2;
const UINT16_MAX = 65_535;

/** @throws CaissonError REQUEST_INVALID for a size that no terminal has */
export function encodeSize({ cols, rows }: TerminalSize): Buffer {
  const possible = [cols, rows].every((count) => Number.isInteger(count) && count >= 1 && count <= UINT16_MAX);
  if (!possible) throw new CaissonError('REQUEST_INVALID', { detail: 'a terminal has 1 to 65535 columns and rows' });
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(cols, 0);
  bytes.writeUInt16LE(rows, 2);
  return bytes;
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= UINT16_MAX;
}

export function encodeDial(port: number, windowBytes: number): Buffer {
  return Buffer.concat([u32(windowBytes), u32(port)]);
}

/** May be longer than LANE_PAYLOAD_MAX, and cannot be sent then. @throws CaissonError REQUEST_INVALID when a string holds a NUL byte or no terminal has the size */
export function encodeSpawn(spawn: SpawnPayload): Buffer {
  const fixed = Buffer.alloc(32);
  fixed.writeUInt32LE((spawn.stdin ? SPAWN_STDIN : 0) | (spawn.tty === undefined ? 0 : SPAWN_TTY), 0);
  fixed.writeUInt32LE(spawn.windowBytes, 4);
  fixed.writeBigUInt64LE(BigInt(spawn.capBytes), 8);
  fixed.writeBigUInt64LE(BigInt(spawn.capBytes), 16);
  fixed.writeUInt32LE(spawn.argv.length, 24);
  fixed.writeUInt32LE(spawn.env.length, 28);
  const strings = [spawn.cwd, ...spawn.argv, ...spawn.env];
  if (strings.some((text) => text.includes('\0'))) throw new CaissonError('REQUEST_INVALID', { detail: 'a string holds a NUL byte' });
  const size = spawn.tty === undefined ? Buffer.alloc(0) : encodeSize(spawn.tty);
  return Buffer.concat([fixed, size, Buffer.from(strings.map((text) => `${text}\0`).join(''), 'utf8')]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export interface ExitPayload {
  readonly signaled: boolean;
  readonly value: number;
  readonly written: readonly [number, number];
  /** Programs that pid 1 has executed so far. */
  readonly started: number;
}

const violation = (detail: string): CaissonError => new CaissonError('FRAME_INVALID', { detail });

export function decodeExit(payload: Buffer): ExitPayload {
  if (payload.length !== 56) throw violation('an exit of the wrong size');
  const kind = payload.readUInt32LE(0);
  const value = payload.readUInt32LE(4);
  const signaled = kind === 1;
  if (kind > 1) throw violation('an exit of no kind');
  if (signaled ? value < 1 || value > 64 : value > 255) throw violation('an impossible exit status');
  const written = [Number(payload.readBigUInt64LE(32)), Number(payload.readBigUInt64LE(40))] as const;
  const started = Number(payload.readBigUInt64LE(48));
  if (![...written, started].every((count) => Number.isSafeInteger(count))) throw violation('an impossible count');
  return { signaled, value, written, started };
}

export interface FailedPayload {
  readonly stage: 'setup' | 'cwd' | 'exec' | 'connect';
  readonly errno: number;
}

export function decodeFailed(payload: Buffer): FailedPayload {
  if (payload.length !== 8) throw violation('a failure of the wrong size');
  const stage = (['setup', 'cwd', 'exec', 'connect'] as const)[payload.readUInt32LE(0) - 1];
  const errno = payload.readUInt32LE(4);
  if (stage === undefined || errno > 4095) throw violation('an unknown failure');
  return { stage, errno };
}

export function decodeU32(payload: Buffer): number {
  if (payload.length !== 4) throw violation('a number of the wrong size');
  return payload.readUInt32LE(0);
}

/** Cuts a lane into frames, whatever the chunks it arrives in. Holds at most one frame. */
export class LaneReader {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws CaissonError FRAME_INVALID */
  *push(chunk: Buffer): Generator<LaneFrame> {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    try {
      while (this.#pending.length - at >= LANE_HEADER_BYTES) {
        const length = this.#pending.readUInt32LE(at);
        if (length > LANE_PAYLOAD_MAX) throw violation(`a lane payload of ${length} bytes`);
        if (this.#pending.readUInt16LE(at + 6) !== 0) throw violation('reserved lane bytes that are not zero');
        if (this.#pending.length - at < LANE_HEADER_BYTES + length) return;
        const head = at;
        at = head + LANE_HEADER_BYTES + length;
        yield {
          type: this.#pending.readUInt8(head + 4),
          stream: this.#pending.readUInt8(head + 5),
          exec: this.#pending.readUInt32LE(head + 8),
          payload: this.#pending.subarray(head + LANE_HEADER_BYTES, at),
        };
      }
    } finally {
      this.#pending = this.#pending.subarray(at);
    }
  }
}

import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import type { Exec, ExecEnd, ExecEvents, ExecReport, OutputStream, ProcessSpec } from './driver.ts';
import { parseHello, type Hello } from './hello.ts';
import {
  decodeExit, decodeFailed, decodeU32, encodeLane, encodeSpawn, LANE, LANE_PAYLOAD_MAX, LaneReader, STDIN_WINDOW, u32, type LaneFrame,
} from './lane.ts';
import { inOrder } from './serial.ts';

/** Output bytes of one exec that may be under way between pid 1 and the reader. */
const OUTPUT_WINDOW = 512 * 1024;

interface Running {
  readonly process: ProcessSpec;
  readonly events: ExecEvents;
  readonly received: { stdout: number; stderr: number };
  /** Output bytes that pid 1 may still send. */
  window: number;
  /** Output bytes taken by the reader and not yet credited back. */
  taken: number;
  stdinRoom: number;
  stdinEnded: boolean;
  wakeStdin: (() => void) | undefined;
  finish(end: ExecEnd, written: { readonly stdout: number; readonly stderr: number }): void;
}

/**
 * The launcher's end of the two lanes of one sandbox. Pid 1 is held to the protocol: more output than was credited or
 * capped, or a frame out of place, closes the lanes and so ends the sandbox.
 */
export class Lanes {
  readonly hello: Promise<Hello>;
  readonly #control: Duplex;
  readonly #data: Duplex;
  readonly #execs = new Map<number, Running>();
  #nextExec = 1;
  #open = 2;
  #fault: string | undefined;
  #settleHello: { resolve(hello: Hello): void; reject(error: Error): void } | undefined;
  #onGone: (() => void) | undefined;
  /** Resolves when pid 1 is gone. */
  readonly gone: Promise<void>;

  constructor(control: Duplex, data: Duplex) {
    this.#control = control;
    this.#data = data;
    this.hello = new Promise((resolve, reject) => (this.#settleHello = { resolve, reject }));
    this.hello.catch(() => undefined);
    this.gone = new Promise((resolve) => (this.#onGone = resolve));
    this.#listen(control, (frame) => this.#onControl(frame));
    this.#listen(data, (frame) => this.#onData(frame));
  }

  #listen(lane: Duplex, onFrame: (frame: LaneFrame) => void): void {
    const reader = new LaneReader();
    lane.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) onFrame(frame);
      } catch (error) {
        this.#fault ??= `pid 1 broke the protocol: ${error instanceof Error ? error.message : String(error)}`;
        this.destroy();
      }
    });
    lane.on('error', () => undefined);
    lane.on('end', () => lane.destroy());
    lane.on('close', () => this.#onClosed());
  }

  #onClosed(): void {
    this.destroy();
    this.#open -= 1;
    if (this.#open > 0) return;
    const detail = this.#fault ?? 'pid 1 of the sandbox is gone';
    this.#settleHello?.reject(new CaissonError('LAUNCH_FAILED', { detail }));
    for (const exec of this.#execs.values()) exec.finish({ kind: 'lost', detail }, exec.received);
    this.#onGone?.();
  }

  destroy(): void {
    this.#control.destroy();
    this.#data.destroy();
  }

  #running(frame: LaneFrame): Running {
    const exec = this.#execs.get(frame.exec);
    if (exec === undefined) throw new CaissonError('FRAME_INVALID', { detail: 'a frame of an exec that does not run' });
    return exec;
  }

  #onControl(frame: LaneFrame): void {
    switch (frame.type) {
      case LANE.hello:
        this.#settleHello?.resolve(parseHello(frame.payload));
        this.#settleHello = undefined;
        return;
      case LANE.started: // may overtake nothing and be overtaken by the exit on the other lane
        if (frame.exec === 0 || frame.exec >= this.#nextExec) throw new CaissonError('FRAME_INVALID', { detail: 'a start that nobody asked for' });
        return;
      case LANE.failed:
        this.#running(frame).finish({ kind: 'not-started', ...decodeFailed(frame.payload) }, { stdout: 0, stderr: 0 });
        return;
      case LANE.stdinCredit:
        this.#creditStdin(frame);
        return;
      default:
        throw new CaissonError('FRAME_INVALID', { detail: `control frame ${frame.type}` });
    }
  }

  #creditStdin(frame: LaneFrame): void {
    const exec = this.#execs.get(frame.exec);
    if (exec === undefined) return; // the exec has ended on the other lane
    exec.stdinRoom += decodeU32(frame.payload);
    if (exec.stdinRoom > STDIN_WINDOW) throw new CaissonError('FRAME_INVALID', { detail: 'more stdin credit than was used' });
    exec.wakeStdin?.();
  }

  #onData(frame: LaneFrame): void {
    const exec = this.#running(frame);
    if (frame.type === LANE.output) return this.#onOutput(frame, exec);
    if (frame.type !== LANE.exit) throw new CaissonError('FRAME_INVALID', { detail: `data frame ${frame.type}` });
    const { signaled, value, written: [stdout, stderr] } = decodeExit(frame.payload);
    const { received, process: { outputBytes } } = exec;
    const exact = received.stdout === Math.min(stdout, outputBytes) && received.stderr === Math.min(stderr, outputBytes);
    if (!exact) throw new CaissonError('FRAME_INVALID', { detail: 'an exit that counts other output than was sent' });
    exec.finish(signaled ? { kind: 'signaled', signal: value } : { kind: 'exited', code: value }, { stdout, stderr });
  }

  #onOutput(frame: LaneFrame, exec: Running): void {
    const stream: OutputStream | undefined = ([undefined, 'stdout', 'stderr'] as const)[frame.stream];
    const bytes = frame.payload;
    if (stream === undefined || bytes.length === 0) throw new CaissonError('FRAME_INVALID', { detail: 'output of no stream' });
    exec.received[stream] += bytes.length;
    exec.window -= bytes.length;
    if (exec.received[stream] > exec.process.outputBytes) throw new CaissonError('FRAME_INVALID', { detail: 'output beyond its cap' });
    if (exec.window < 0) throw new CaissonError('FRAME_INVALID', { detail: 'output beyond its window' });
    void exec.events.onOutput(stream, bytes).then(() => this.#creditOutput(frame.exec, exec, bytes.length));
  }

  #creditOutput(id: number, exec: Running, bytes: number): void {
    exec.taken += bytes;
    if (exec.taken < OUTPUT_WINDOW / 4 || !this.#execs.has(id)) return;
    this.#control.write(encodeLane(LANE.credit, id, u32(exec.taken)));
    exec.window += exec.taken;
    exec.taken = 0;
  }

  spawn(process: ProcessSpec, events: ExecEvents): Exec {
    const id = this.#nextExec++;
    const payload = encodeSpawn({ ...process, windowBytes: OUTPUT_WINDOW, capBytes: process.outputBytes });
    const { promise: done, resolve } = Promise.withResolvers<ExecReport>();
    const exec: Running = {
      process,
      events,
      received: { stdout: 0, stderr: 0 },
      window: OUTPUT_WINDOW,
      taken: 0,
      stdinRoom: STDIN_WINDOW,
      stdinEnded: false,
      wakeStdin: undefined,
      finish: (end, written) => {
        this.#execs.delete(id);
        exec.wakeStdin?.();
        resolve({ end, written: { ...written } });
      },
    };
    this.#execs.set(id, exec);
    if (this.#open < 2) exec.finish({ kind: 'lost', detail: this.#fault ?? 'pid 1 of the sandbox is gone' }, exec.received);
    else if (payload.length > LANE_PAYLOAD_MAX) exec.finish({ kind: 'not-started', stage: 'exec', errno: constants.errno.E2BIG }, exec.received);
    else this.#control.write(encodeLane(LANE.spawn, id, payload));
    const ordered = inOrder();
    return {
      done,
      writeStdin: (bytes) => ordered(() => this.#writeStdin(id, exec, bytes)),
      endStdin: () => ordered(() => this.#endStdin(id, exec)),
      signal: (signal) => {
        if (this.#execs.has(id)) this.#control.write(encodeLane(LANE.signal, id, u32(signal)));
      },
    };
  }

  async #endStdin(id: number, exec: Running): Promise<void> {
    if (exec.stdinEnded || !this.#execs.has(id)) return;
    exec.stdinEnded = true;
    this.#data.write(encodeLane(LANE.stdin, id));
  }

  async #writeStdin(id: number, exec: Running, bytes: Buffer): Promise<void> {
    let at = 0;
    while (at < bytes.length && !exec.stdinEnded && this.#execs.has(id)) {
      if (exec.stdinRoom === 0) {
        await new Promise<void>((resolve) => (exec.wakeStdin = resolve));
        continue;
      }
      const part = bytes.subarray(at, at + exec.stdinRoom);
      exec.stdinRoom -= part.length;
      at += part.length;
      this.#data.write(encodeLane(LANE.stdin, id, part));
    }
  }
}

import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { CaissonError, type Counts } from '@caisson/contract';
import type { Exec, ExecEnd, ExecEvents, ExecReport, OutputStream, ProcessSpec } from './driver.ts';
import { parseHello, type Hello } from './hello.ts';
import { Hush } from './hush.ts';
import {
  decodeExit, decodeFailed, decodeU32, encodeDial, encodeSize, encodeSpawn, FRAME_COST, isPort, LANE, LANE_PAYLOAD_MAX, LaneReader,
  STDIN_WINDOW, u32, type FailedPayload, type LaneFrame,
} from './lane.ts';
import { ProgramCount } from './program-count.ts';
import { inOrder } from './serial.ts';

/** Output bytes of one exec that may be under way between pid 1 and the reader. */
const OUTPUT_WINDOW = 512 * 1024;

/** One exec of a sandbox whose pid 1 is quiet, as far as the launcher knows it. */
export interface LaneExecState {
  readonly id: number;
  readonly isDial: boolean;
  readonly hasTty: boolean;
  readonly outputBytes: number;
  readonly received: { readonly stdout: number; readonly stderr: number };
  /** Output bytes that pid 1 may still send. */
  readonly window: number;
  readonly stdinRoom: number;
  readonly stdinEnded: boolean;
}

/** What goes on with a sandbox that is started from saved memory. */
export interface LanesState {
  readonly nextExec: number;
  readonly execs: readonly LaneExecState[];
}

/** An exec, and its number on the lanes. */
export interface LaneExec extends Exec {
  readonly id: number;
}

/** What begins an exec, or why nothing does. */
interface Beginning {
  readonly type: typeof LANE.spawn | typeof LANE.dial;
  readonly payload: Buffer;
  readonly outputBytes: number;
  readonly hasTty: boolean;
  readonly refused: FailedPayload | undefined;
  readonly events: ExecEvents;
}

interface Running {
  readonly outputBytes: number;
  readonly isDial: boolean;
  readonly hasTty: boolean;
  readonly events: ExecEvents;
  /** Pid 1 has said that nothing more comes. */
  outputEnded: boolean;
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
  readonly #hush: Hush;
  readonly #execs = new Map<number, Running>();
  #nextExec = 1;
  readonly #counted: ProgramCount;
  #open = 2;
  #fault: string | undefined;
  #settleHello: { resolve(hello: Hello): void; reject(error: Error): void } | undefined;
  #onGone: (() => void) | undefined;
  /** Resolves when pid 1 is gone. */
  readonly gone: Promise<void>;

  /** @param saved What goes on, where pid 1 comes out of saved memory. It says nothing before `resume`. */
  constructor(control: Duplex, data: Duplex, saved?: Pick<LanesState, 'nextExec'>) {
    this.#control = control;
    this.#data = data;
    this.#hush = new Hush(control, data, saved !== undefined);
    this.#nextExec = saved?.nextExec ?? 1;
    this.#counted = new ProgramCount(this.#nextExec);
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
        for (const frame of reader.push(chunk)) this.#receive(lane, frame, onFrame);
      } catch (error) {
        this.#fault ??= `pid 1 broke the protocol: ${error instanceof Error ? error.message : String(error)}`;
        this.destroy();
      }
    });
    lane.on('error', () => undefined);
    lane.on('end', () => lane.destroy());
    lane.on('close', () => this.#onClosed());
  }

  #receive(lane: Duplex, frame: LaneFrame, onFrame: (frame: LaneFrame) => void): void {
    if (this.#hush.isQuiet(lane)) throw new CaissonError('FRAME_INVALID', { detail: 'a frame in the silence' });
    if (frame.type === LANE.quiet) this.#hush.onQuiet(lane);
    else onFrame(frame);
  }

  #onClosed(): void {
    this.destroy();
    this.#open -= 1;
    if (this.#open > 0) return;
    const detail = this.#fault ?? 'pid 1 of the sandbox is gone';
    this.#settleHello?.reject(new CaissonError('LAUNCH_FAILED', { detail }));
    this.#hush.end(detail);
    for (const exec of this.#execs.values()) exec.finish({ kind: 'lost', detail }, exec.received);
    this.#onGone?.();
  }

  /** Programs of this sandbox: what pid 1 has counted, and what the launcher has. */
  get programs(): Pick<Counts, 'started' | 'asked'> {
    return this.#counted.counts;
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
        this.#execs.get(frame.exec)?.events.onStarted?.();
        return;
      case LANE.failed:
        this.#onFailed(frame);
        return;
      case LANE.stdinCredit:
        this.#creditStdin(frame);
        return;
      default:
        throw new CaissonError('FRAME_INVALID', { detail: `control frame ${frame.type}` });
    }
  }

  #onFailed(frame: LaneFrame): void {
    const exec = this.#running(frame);
    const failed = decodeFailed(frame.payload);
    if (exec.isDial !== (failed.stage === 'connect')) throw new CaissonError('FRAME_INVALID', { detail: 'a failure of another kind of exec' });
    if (!exec.isDial) this.#counted.failed(frame.exec);
    exec.finish({ kind: 'not-started', ...failed }, { stdout: 0, stderr: 0 });
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
    if (frame.type === LANE.outputEnd) return this.#onOutputEnd(exec);
    if (frame.type !== LANE.exit) throw new CaissonError('FRAME_INVALID', { detail: `data frame ${frame.type}` });
    const { signaled, value, written: [stdout, stderr], started } = decodeExit(frame.payload);
    const { received, outputBytes } = exec;
    const exact = received.stdout === Math.min(stdout, outputBytes) && received.stderr === Math.min(stderr, outputBytes);
    if (!exact) throw new CaissonError('FRAME_INVALID', { detail: 'an exit that counts other output than was sent' });
    if (!this.#counted.exited(frame.exec, exec.isDial, started)) throw new CaissonError('FRAME_INVALID', { detail: 'an exit that counts other programs than were started' });
    exec.finish(signaled ? { kind: 'signaled', signal: value } : { kind: 'exited', code: value }, { stdout, stderr });
  }

  #onOutputEnd(exec: Running): void {
    if (!exec.isDial || exec.outputEnded) throw new CaissonError('FRAME_INVALID', { detail: 'an end of output out of place' });
    exec.outputEnded = true;
    exec.events.onOutputEnd?.();
  }

  #onOutput(frame: LaneFrame, exec: Running): void {
    const stream: OutputStream | undefined = ([undefined, 'stdout', 'stderr'] as const)[frame.stream];
    const bytes = frame.payload;
    if (stream === undefined || bytes.length === 0) throw new CaissonError('FRAME_INVALID', { detail: 'output of no stream' });
    if (exec.outputEnded) throw new CaissonError('FRAME_INVALID', { detail: 'output after its end' });
    exec.received[stream] += bytes.length;
    const cost = Math.max(FRAME_COST, bytes.length);
    exec.window -= cost;
    if (exec.received[stream] > exec.outputBytes) throw new CaissonError('FRAME_INVALID', { detail: 'output beyond its cap' });
    if (exec.window < 0) throw new CaissonError('FRAME_INVALID', { detail: 'output beyond its window' });
    void exec.events.onOutput(stream, bytes).then(() => this.#creditOutput(frame.exec, exec, cost));
  }

  #creditOutput(id: number, exec: Running, bytes: number): void {
    exec.taken += bytes;
    if (exec.taken < OUTPUT_WINDOW / 4 || !this.#execs.has(id)) return;
    this.#hush.write(this.#control, LANE.credit, id, u32(exec.taken));
    exec.window += exec.taken;
    exec.taken = 0;
  }

  /**
   * Ends both lanes for a while, with no frame under way on either. What is sent meanwhile waits for `resume`.
   *
   * @throws CaissonError CHECKPOINT_FAILED
   */
  async quiesce(): Promise<LanesState> {
    if (this.#open < 2) throw new CaissonError('CHECKPOINT_FAILED', { detail: this.#fault ?? 'pid 1 of the sandbox is gone' });
    await this.#hush.quiesce();
    const execs = new Map([...this.#execs].map(([id, { isDial, hasTty, outputBytes, received, window, stdinRoom, stdinEnded }]) =>
      [id, { id, isDial, hasTty, outputBytes, received: { ...received }, window, stdinRoom, stdinEnded }]));
    for (const frame of this.#hush.held) unsay(execs, frame);
    return { nextExec: this.#nextExec, execs: [...execs.values()] };
  }

  /** Has pid 1 go on. @param restored Whether it comes out of saved memory: it says hello then. */
  resume(restored: boolean): void {
    this.#hush.resume(restored);
  }

  /** Takes an exec over that ran when the memory was saved. All that pid 1 has sent of its output counts as taken. */
  adopt(state: LaneExecState, events: ExecEvents): LaneExec {
    const { id, received, window } = state;
    const { exec, handle } = this.#add(id, { ...state, events, received: { ...received } });
    exec.window = window;
    this.#creditOutput(id, exec, OUTPUT_WINDOW - window);
    return handle;
  }

  spawn(process: ProcessSpec, events: ExecEvents): LaneExec {
    const payload = encodeSpawn({ ...process, windowBytes: OUTPUT_WINDOW, capBytes: process.outputBytes });
    const refused: FailedPayload | undefined = payload.length > LANE_PAYLOAD_MAX ? { stage: 'exec', errno: constants.errno.E2BIG } : undefined;
    return this.#begin({ type: LANE.spawn, payload, outputBytes: process.outputBytes, hasTty: process.tty !== undefined, refused, events });
  }

  dial(port: number, events: ExecEvents): LaneExec {
    const refused: FailedPayload | undefined = isPort(port) ? undefined : { stage: 'connect', errno: constants.errno.EINVAL };
    const payload = refused === undefined ? encodeDial(port, OUTPUT_WINDOW) : Buffer.alloc(0);
    return this.#begin({ type: LANE.dial, payload, outputBytes: Number.MAX_SAFE_INTEGER, hasTty: false, refused, events });
  }

  #begin({ type, payload, outputBytes, hasTty, refused, events }: Beginning): LaneExec {
    const id = this.#nextExec++;
    const { exec, handle } = this.#add(id, {
      outputBytes, isDial: type === LANE.dial, hasTty, events, received: { stdout: 0, stderr: 0 }, stdinRoom: STDIN_WINDOW, stdinEnded: false,
    });
    if (refused !== undefined && this.#open === 2) exec.finish({ kind: 'not-started', ...refused }, exec.received);
    else if (this.#open === 2) {
      this.#hush.write(this.#control, type, id, payload);
      if (type === LANE.spawn) this.#counted.asked(id);
    }
    return handle;
  }

  #add(id: number, begun: Pick<Running, 'outputBytes' | 'isDial' | 'hasTty' | 'events' | 'received' | 'stdinRoom' | 'stdinEnded'>): { exec: Running; handle: LaneExec } {
    const { promise: done, resolve } = Promise.withResolvers<ExecReport>();
    const { outputBytes, isDial, hasTty, events, received, stdinRoom, stdinEnded } = begun;
    const exec: Running = {
      outputBytes, isDial, hasTty, events, received, stdinRoom, stdinEnded,
      outputEnded: false,
      window: OUTPUT_WINDOW,
      taken: 0,
      wakeStdin: undefined,
      finish: (end, written) => {
        this.#execs.delete(id);
        exec.wakeStdin?.();
        resolve({ end, written: { ...written } });
      },
    };
    this.#execs.set(id, exec);
    if (this.#open < 2) exec.finish({ kind: 'lost', detail: this.#fault ?? 'pid 1 of the sandbox is gone' }, exec.received);
    return { exec, handle: this.#handle(id, exec, done) };
  }

  #handle(id: number, exec: Running, done: Promise<ExecReport>): LaneExec {
    const ordered = inOrder();
    const tell = (verb: number, content?: Buffer): void => {
      if (this.#execs.has(id)) this.#hush.write(this.#control, verb, id, content);
    };
    return {
      id,
      done,
      writeStdin: (bytes) => ordered(() => this.#writeStdin(id, exec, bytes)),
      endStdin: () => ordered(() => this.#endStdin(id, exec)),
      signal: (signal) => tell(LANE.signal, u32(signal)),
      kill: () => tell(LANE.kill),
      resize: (cols, rows) => {
        if (exec.hasTty) tell(LANE.resize, encodeSize({ cols, rows }));
      },
    };
  }

  async #endStdin(id: number, exec: Running): Promise<void> {
    if (exec.stdinEnded || !this.#execs.has(id)) return;
    exec.stdinEnded = true;
    this.#hush.write(this.#data, LANE.stdin, id);
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
      this.#hush.write(this.#data, LANE.stdin, id, part);
    }
  }
}

/** Takes back what the launcher counts as said and pid 1 has not heard: the saved memory does not know of it. */
function unsay(execs: Map<number, { -readonly [K in keyof LaneExecState]: LaneExecState[K] }>, { type, exec: id, payload }: Pick<LaneFrame, 'type' | 'exec' | 'payload'>): void {
  const exec = execs.get(id);
  if (exec === undefined) return;
  if (type === LANE.spawn || type === LANE.dial) execs.delete(id);
  if (type === LANE.credit) exec.window -= decodeU32(payload);
  if (type !== LANE.stdin) return;
  exec.stdinRoom += payload.length;
  if (payload.length === 0) exec.stdinEnded = false;
}

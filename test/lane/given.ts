import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { encodeLane, encodeSpawn, LANE, LaneReader, Lanes, u32, type LaneFrame, type SpawnPayload } from '@caisson/runtime';

const NATIVE = resolve(import.meta.dirname, '../../native/init');
const NOBODY = 65_534;
const MIB = 1024 * 1024;

export const SANITIZERS = ['-g', '-O1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
export const INIT_SOURCES: readonly string[] = readdirSync(NATIVE).filter((name) => name.endsWith('.c'));

/** An empty directory, readable by everybody, for what a test file builds. */
export function buildDir(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'caisson-native-'));
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const run = promisify(execFile);

/** Compiles sources, by default of native/init, with the warnings of tools/native.sh. Rejects with what the compiler said. */
export async function compile(out: string, sources: readonly string[], flags: readonly string[], compiler = 'gcc'): Promise<string> {
  const warnings = ['-std=c17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror'];
  await run(compiler, [...warnings, ...flags, '-o', out, ...sources.map((source) => resolve(NATIVE, source))]);
  return out;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

/** The init program as a process of this host, without privilege, whose lanes are pipes of the test. */
export class Pid1 implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly control: Duplex;
  readonly data: Duplex;
  readonly ended: Promise<Ended>;

  /** @param through What starts the program, as a runtime would: argv to which its path is added. */
  constructor(binary: string, env: NodeJS.ProcessEnv = {}, through: readonly string[] = []) {
    // Landlock wants no_new_privs of a process without privilege; every sandbox has it.
    const drop = process.getuid?.() === 0 ? ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'] : [];
    this.process = spawn('setpriv', [...drop, '--no-new-privs', '--', ...through, binary], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe', 'pipe'], // the last as a careless runtime would leave one open
      env: { PATH: '/usr/bin:/bin', ...env },
      cwd: '/',
    });
    const [control, data, other] = this.process.stdio.slice(3) as unknown as [Duplex, Duplex, Duplex];
    for (const end of [control, data, other]) end.on('error', () => undefined);
    this.control = control;
    this.data = data;
    this.ended = new Promise((done, reject) => {
      this.process.once('error', reject);
      this.process.once('exit', (code, signal) => done({ code, signal }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    this.control.destroy();
    this.data.destroy();
    await this.ended;
  }
}

/** Speaks to the init program frame by frame and remembers what it answered. */
export class Conversation implements AsyncDisposable {
  readonly pid1: Pid1;
  readonly frames: LaneFrame[] = [];
  readonly #arrived = new EventEmitter().setMaxListeners(0);

  constructor(binary: string, through: readonly string[] = []) {
    this.pid1 = new Pid1(binary, {}, through);
    for (const lane of [this.pid1.control, this.pid1.data]) {
      const reader = new LaneReader();
      lane.on('data', (chunk: Buffer) => {
        // A payload is a view of the reader's buffer, which is never written again.
        this.frames.push(...reader.push(chunk));
        this.#arrived.emit('frame');
      });
    }
  }

  tell(type: number, exec: number, payload?: Buffer): void {
    const lane = type === LANE.stdin ? this.pid1.data : this.pid1.control;
    lane.write(encodeLane(type, exec, payload));
  }

  spawn(exec: number, argv: readonly string[], spawned: Partial<SpawnPayload> = {}): void {
    this.tell(LANE.spawn, exec, encodeSpawn({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/tmp', stdin: false, windowBytes: MIB, capBytes: MIB, ...spawned }));
  }

  credit(exec: number, bytes: number): void {
    this.tell(LANE.credit, exec, u32(bytes));
  }

  /** The first frame of this type for the exec, already there or still to come. */
  async frame(type: number, exec: number, waitMs = 5_000): Promise<LaneFrame> {
    const signal = AbortSignal.timeout(waitMs);
    for (;;) {
      const found = this.frames.find((frame) => frame.type === type && frame.exec === exec);
      if (found !== undefined) return found;
      await once(this.#arrived, 'frame', { signal }).catch(() => {
        throw new Error(`no frame ${type} of exec ${exec} within ${waitMs} ms`);
      });
    }
  }

  /** Bytes of one stream of the exec that have arrived so far. */
  output(exec: number, stream: number): Buffer {
    return Buffer.concat(this.frames.filter((frame) => frame.type === LANE.output && frame.exec === exec && frame.stream === stream).map(({ payload }) => payload));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pid1[Symbol.asyncDispose]();
  }
}

/** The launcher's end of the lanes over a real init program. */
export function withLanes(binary: string): AsyncDisposable & { readonly lanes: Lanes; readonly pid1: Pid1 } {
  const pid1 = new Pid1(binary);
  const lanes = new Lanes(pid1.control, pid1.data);
  return { pid1, lanes, [Symbol.asyncDispose]: () => pid1[Symbol.asyncDispose]() };
}

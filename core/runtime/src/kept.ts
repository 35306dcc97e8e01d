import { CaissonError, MIB, type IsolationSpec, type LiveUsage, type RecordedSegment, type TerminalSize, type Usage } from '@caisson/contract';
import type { Exec, ExecEvents, ExecReport, LiveMachine, Machine, OutputStream, ProcessSpec } from './driver.ts';
import { goneMachine, OVER } from './gone.ts';
import type { Hello } from './hello.ts';
import { Journal, type JournalChunk } from './journal.ts';
import { Recorder } from './recorder.ts';

/** Ended execs of one sandbox whose output is kept; the oldest go first. */
const ENDED_EXECS = 64;
/** Bytes that their output takes on the disk, in all; the oldest go first here as well. */
const ENDED_BYTES = 256 * MIB;

/** How a kept exec ended, and what of its output is kept. */
export interface KeptReport extends ExecReport {
  readonly kept: Readonly<Record<OutputStream, { readonly bytes: number; readonly sha256: string }>>;
  /** Digests of its recording. */
  readonly recording: readonly RecordedSegment[];
  /** Why what it wrote could not be kept any more, for which it was killed; null: all was. */
  readonly unkept: string | null;
  /** Whether the kernel killed for memory in this sandbox while the exec ran. */
  readonly outOfMemory: boolean;
  readonly endedMs: number;
}

/** A report as whoever waits for it gets it. */
export interface KeptEnd extends KeptReport {
  /** The whole output where it is little, which spares the reader a connection; null otherwise. */
  readonly whole: readonly { readonly stream: OutputStream; readonly base64: string }[] | null;
}

/** Output that is told with the end of an exec, at most. */
const WHOLE_BYTES = 16 * 1024;

/** What whoever takes over a sandbox is told of one of its execs. */
export interface KeptExecInfo {
  readonly id: string;
  readonly memo: string;
  readonly startedMs: number;
  readonly report: KeptReport | null;
}

export interface KeptInfo {
  readonly id: string;
  readonly memo: string;
  readonly runtime: string;
  readonly user: Machine['user'];
  readonly address: Machine['address'];
  readonly hello: Hello;
  readonly paused: boolean;
  /** Why it was asked to end, where it was; null where nobody asked, or it had ended before. */
  readonly closedFor: string | null;
  readonly usage: Usage | null;
  readonly execs: readonly KeptExecInfo[];
}

/** A kept sandbox, with the ids of its execs. */
export interface KeptHead extends Omit<KeptInfo, 'execs'> {
  readonly execs: readonly string[];
}

interface KeptExec {
  readonly memo: string;
  readonly startedMs: number;
  readonly journal: Journal;
  readonly ended: Promise<KeptReport>;
  /** What it can be told. When it has ended that does nothing, and holds nothing of it. */
  exec: Omit<Exec, 'done'>;
  report: KeptReport | null;
  stdinTaken: number;
}

export interface KeptParts {
  readonly spec: IsolationSpec;
  readonly machine: LiveMachine;
  readonly memo: string;
  /** Folder for the output of its execs; it exists, and is this sandbox's alone. */
  readonly journals: string;
  readonly now: () => number;
  readonly workspace: KeptWorkspace | null;
  /** Execs that go on from saved memory. */
  readonly goingOn: readonly GoingOn[];
}

/** An exec that runs already, with the journal that takes its output. */
export interface GoingOn {
  readonly id: string;
  readonly memo: string;
  readonly exec: Exec;
  readonly journal: Journal;
}

/** Where the workspace of a sandbox lies on the host, and whose it is there. */
export interface KeptWorkspace {
  readonly path: string;
  /** Uid and gid of the agent on the host. */
  readonly uid: number;
}

/** A sandbox that lives until it is closed, whoever comes and goes: its execs go on and their output is kept. */
export class Kept {
  readonly id: string;
  readonly memoryBytes: number;
  readonly #level: IsolationSpec['level'];
  readonly #journals: string;
  readonly #now: () => number;
  readonly #workspace: KeptWorkspace | null;
  /** When it has ended, what stands for it: of the sandbox only what is still asked for stays in memory. */
  #machine: LiveMachine;
  readonly #execs = new Map<string, KeptExec>();
  /** Those that have ended, as they did, and how much of their output is kept. */
  readonly #ended: KeptExec[] = [];
  #endedBytes = 0;
  readonly #users = new Set<() => Promise<void>>();
  #memo: string;
  #paused = false;
  #closedFor: string | null = null;
  #closed: Usage | null = null;
  #oomKills = 0;

  constructor(parts: KeptParts) {
    this.id = parts.spec.id;
    this.memoryBytes = parts.spec.limits.memoryBytes;
    this.#level = parts.spec.level;
    this.#machine = parts.machine;
    this.#journals = parts.journals;
    this.#now = parts.now;
    this.#workspace = parts.workspace;
    this.#memo = parts.memo;
    for (const { id, memo, exec, journal } of parts.goingOn) this.#take(id, memo, exec, journal);
  }

  get workspace(): KeptWorkspace | null {
    return this.#workspace;
  }

  /** Bytes that the output of its execs takes on the disk. */
  get outputBytes(): number {
    return [...this.#execs.values()].reduce((sum, { journal }) => sum + journal.recordBytes, 0);
  }

  /**
   * Notes a process outside the sandbox that uses its workspace: it is ended before the workspace is given up.
   *
   * @param end resolves when the process is gone
   * @returns what to call when it has ended by itself
   */
  use(end: () => Promise<void>): () => void {
    this.#users.add(end);
    if (this.#closed !== null) void end();
    return () => this.#users.delete(end);
  }

  info(): KeptInfo {
    return { ...this.head(), execs: this.execs([...this.#execs.keys()]) };
  }

  head(): KeptHead {
    const { runtime, user, address, hello } = this.#machine;
    return { id: this.id, memo: this.#memo, runtime, user, address, hello, paused: this.#paused, closedFor: this.#closedFor, usage: this.#closed, execs: [...this.#execs.keys()] };
  }

  /** Those of the named execs that are kept. */
  execs(ids: readonly string[]): readonly KeptExecInfo[] {
    return ids.flatMap((id) => {
      const kept = this.#execs.get(id);
      return kept === undefined ? [] : [{ id, memo: kept.memo, startedMs: kept.startedMs, report: kept.report }];
    });
  }

  /** Replaces what its keeper noted of it. */
  note(memo: string): void {
    this.#memo = memo;
  }

  /** Gives an exec another id and note: one that goes on from saved memory is another than the one that was saved. */
  rename(exec: string, as: string, memo: string): void {
    const kept = this.#execs.get(exec);
    if (kept === undefined || this.#execs.has(as)) return;
    this.#execs.delete(exec);
    this.#execs.set(as, Object.assign(kept, { memo }));
  }

  /** Has the file of a secret take the value that the vault has now. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
  async renewSecret(lease: string): Promise<void> {
    if (this.#machine.secrets === undefined) throw new CaissonError('LEASE_NOT_FOUND', { sandbox: this.id, secret: lease });
    await this.#machine.secrets.renew(lease);
  }

  dropSecret(lease: string): void {
    this.#machine.secrets?.drop(lease);
  }

  /** Saves the memory of all its processes as a folder that must not exist. @throws CaissonError CHECKPOINT_… */
  async checkpoint(folder: string): Promise<void> {
    if (this.#machine.checkpoint === undefined) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: this.#level, why: `${this.#machine.runtime} cannot save processes` });
    await this.#machine.checkpoint(folder);
  }

  /** Starts an exec, or takes the one that has this id: asking again never runs a command twice. */
  start(id: string, memo: string, process: ProcessSpec): void {
    if (this.#execs.has(id)) return;
    const journal = new Journal(`${this.#journals}/${id}`, new Recorder({ now: this.#now, tty: process.tty ?? null }));
    const exec: Exec = this.#machine.spawn(process, journalEvents(journal, savedMemo(id, memo), () => exec.kill()));
    this.#take(id, memo, exec, journal);
  }

  #take(id: string, memo: string, exec: Exec, journal: Journal): void {
    const ended = exec.done.then((report) => this.#report(journal, report));
    const kept: KeptExec = { memo, startedMs: this.#now(), exec, journal, ended, report: null, stdinTaken: 0 };
    this.#execs.set(id, kept);
    void ended.then((report) => {
      kept.report = report;
      kept.exec = OVER;
      this.#ended.push(kept);
      this.#endedBytes += journal.recordBytes;
      this.#forgetOldest();
    });
  }

  async #report(journal: Journal, report: ExecReport): Promise<KeptReport> {
    const { end } = report;
    const unkept = journal.failure; // why it was killed stood there before it ended
    // Read only where it can matter: the kernel kills for memory by SIGKILL, which a shell turns into exit 137.
    const killed = end.kind === 'lost' || (end.kind === 'signaled' && end.signal === 9) || (end.kind === 'exited' && end.code === 137);
    const kills = killed ? ((await this.#machine.usage()).oomKills ?? 0) : this.#oomKills;
    const outOfMemory = kills > this.#oomKills;
    this.#oomKills = kills;
    journal.end();
    return { ...report, kept: journal.counts(), recording: journal.segments, unkept, outOfMemory, endedMs: this.#now() };
  }

  #forgetOldest(): void {
    while (this.#ended.length > 1 && (this.#ended.length > ENDED_EXECS || this.#endedBytes > ENDED_BYTES)) {
      const oldest = this.#ended.shift();
      if (oldest === undefined) return;
      this.#endedBytes -= oldest.journal.recordBytes;
      for (const [id, kept] of this.#execs) {
        if (kept !== oldest) continue;
        this.#execs.delete(id);
        break;
      }
      void oldest.journal[Symbol.asyncDispose]();
    }
  }

  ended(exec: string): Promise<KeptEnd> | undefined {
    const kept = this.#execs.get(exec);
    return kept?.ended.then((report) => ({
      ...report,
      whole: kept.journal.whole(WHOLE_BYTES)?.map(({ stream, bytes }) => ({ stream, base64: bytes.toString('base64') })) ?? null,
    }));
  }

  /** As `ended` where it has ended by then; null after that time, or at once for 0 ms. */
  async endedWithin(exec: string, mostMs: number): Promise<KeptEnd | null> {
    const ended = mostMs > 0 ? this.ended(exec) : undefined;
    if (ended === undefined) return null;
    const { promise, resolve } = Promise.withResolvers<KeptEnd | null>();
    const late = setTimeout(resolve, mostMs, null);
    void ended.then((end) => {
      clearTimeout(late);
      resolve(end);
    });
    return promise;
  }

  read(exec: string, from: number, signal: AbortSignal): AsyncIterable<JournalChunk> | undefined {
    return this.#execs.get(exec)?.journal.read(from, signal);
  }

  /**
   * Writes what is new of stdin at an offset; what was taken before is dropped, and a gap is refused with -1.
   *
   * @returns bytes taken so far
   */
  async stdin(id: string, offset: number | null, bytes: Buffer): Promise<number> {
    const kept = this.#execs.get(id);
    if (kept === undefined) return 0;
    const at = offset ?? kept.stdinTaken;
    if (at > kept.stdinTaken) return -1;
    const fresh = bytes.subarray(Math.min(bytes.length, kept.stdinTaken - at));
    kept.stdinTaken += fresh.length;
    if (fresh.length > 0) await kept.exec.writeStdin(fresh);
    return kept.stdinTaken;
  }

  /** What it has written so far, with times. */
  recording(exec: string): AsyncIterable<Buffer> | undefined {
    return this.#execs.get(exec)?.journal.recording();
  }

  /** Gives its terminal another size. @returns whether there is such an exec */
  resize(id: string, { cols, rows }: TerminalSize): boolean {
    const kept = this.#execs.get(id);
    kept?.exec.resize(cols, rows);
    kept?.journal.resize({ cols, rows });
    return kept !== undefined;
  }

  exec(id: string): KeptExec['exec'] | undefined {
    return this.#execs.get(id)?.exec;
  }

  dial(port: number, events: ExecEvents): Exec {
    return this.#machine.dial(port, events);
  }

  async pause(): Promise<void> {
    await this.#machine.pause();
    this.#paused = true;
  }

  async resume(): Promise<void> {
    await this.#machine.resume();
    this.#paused = false;
  }

  usage(): Promise<LiveUsage> {
    return this.#machine.usage();
  }

  /** Remembers why it is to end, so that who takes it over can tell that from an end that nobody asked for. */
  closeFor(why: string | null): Promise<Usage> {
    if (this.#closed === null) this.#closedFor ??= why;
    return this.close();
  }

  /** Resolves when nothing of it runs, and to what it used. Its output stays until it is disposed of. */
  async close(): Promise<Usage> {
    const usage = await this.#machine.close();
    this.#closed = usage;
    await Promise.all([...this.#execs.values()].map(({ ended }) => ended));
    await Promise.all([...this.#users].map((end) => end()));
    this.#machine = goneMachine(this.id, this.#machine, usage);
    return usage;
  }

  /** Puts the output of a sandbox that has ended on the disk, but for what is little. */
  async settle(): Promise<void> {
    for (const { journal } of this.#execs.values()) await journal.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    for (const { journal } of this.#execs.values()) await journal[Symbol.asyncDispose]();
    this.#execs.clear();
    this.#ended.length = 0;
  }
}

/** What a journal makes of what an exec says. Output that cannot be kept is not lost in silence: the command ends. */
export function journalEvents(journal: Journal, memo: string, kill: () => void): ExecEvents {
  return { onOutput: (stream, bytes) => journal.append(stream, bytes).catch(kill), memo };
}

/** What saved memory notes with an exec. */
function savedMemo(id: string, memo: string): string {
  return JSON.stringify([id, memo]);
}

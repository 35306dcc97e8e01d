import { setTimeout as delay } from 'node:timers/promises';
import { writeStatusFile } from '@caisson/follower';
import { consistencyProof, parseCheckpoint, parseNote, provesConsistency, rootAt, tileTree, type Checkpoint, type Fetch } from '@caisson/tlog';
import type { Stamped, TimeStamper } from './ask.ts';
import type { Trust } from './certificate.ts';
import { checkTimeStamp, type TimeStamp } from './check.ts';
import { keepStamp, keptSizes, readStamp, sweepUnfinished } from './kept.ts';
import type { StampingStatus } from './status.ts';

const STATUS_FILE = 'status.json';
const HEARTBEAT_MS = 1_000;
const LOOK_MOST_MS = 5_000;
const RETRY_MS = 1_000;
const RETRY_MOST_MS = 3_600_000;

export interface StamperOptions {
  /** The published files of the log. */
  readonly local: Fetch;
  /** Where stamps and status are kept; has to be there. */
  readonly dir: string;
  /** Asked in this order. */
  readonly stampers: readonly TimeStamper[];
  /** By which a stamp that is kept is known to have its time. */
  readonly trust: Trust;
  readonly everyMs: number;
  readonly clockBoundMs: number;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
  /** 0 to before 1: so that many instances do not ask at once. */
  readonly random: () => number;
  /** Told when the state of an authority changes. */
  readonly onState?: (name: string, state: Authority['state'], detail: string) => void;
}

type Authority = StampingStatus['authorities'][number];
type Alarm = StampingStatus['alarms'][number];

/** The last head that is stamped. */
interface Newest {
  readonly size: number;
  readonly root: Buffer;
  readonly timeMs: number | null;
}

/**
 * Has each new head of one log stamped, at most one in `everyMs`, one question at a time, until it is closed. A head is stamped only
 * when it goes on from the last one that is. Whatever an authority does, the log goes on.
 */
export class Stamper implements AsyncDisposable {
  readonly #options: StamperOptions;
  readonly #authorities: Authority[];
  readonly #closed = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #running: Promise<void>;
  #published = 0;
  #newest: Newest | null;
  #stamps: number;
  #looked: Buffer | null = null;
  #otherLog: Alarm | null = null;
  #clock: Alarm | null = null;
  #problem: string | null = null;
  #failures = 0;
  /** By the clock that is never set, in milliseconds. */
  #dueMs: number;

  private constructor(options: StamperOptions, { newest, stamps }: { readonly newest: Newest | null; readonly stamps: number }) {
    this.#options = options;
    this.#newest = newest;
    this.#stamps = stamps;
    const lastMs = newest?.timeMs ?? null;
    const sinceMs = lastMs === null ? options.everyMs : options.nowMs() - lastMs;
    this.#dueMs = performance.now() + Math.min(Math.max(options.everyMs - Math.max(sinceMs, 0), 0), options.everyMs);
    this.#authorities = options.stampers.map(({ name }) => ({ name, state: 'idle', failures: 0 }));
    this.#heartbeat = setInterval(() => this.#say(), HEARTBEAT_MS);
    this.#running = this.#run();
  }

  /** @throws Error when what is kept cannot be read */
  static async open(options: StamperOptions): Promise<Stamper> {
    await sweepUnfinished(options.dir);
    const sizes = await keptSizes(options.dir);
    return new Stamper(options, { newest: await newestOf(options, sizes), stamps: sizes.length });
  }

  get status(): StampingStatus {
    return {
      pid: process.pid,
      updatedMs: this.#options.nowMs(),
      publishedEntries: this.#published,
      stampedEntries: this.#newest?.size ?? null,
      stampedMs: this.#newest?.timeMs ?? null,
      stamps: this.#stamps,
      problem: this.#problem,
      alarms: [this.#otherLog, this.#clock].filter((alarm) => alarm !== null),
      authorities: this.#authorities,
    };
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#round().then(() => (this.#problem = null), (error: Error) => this.#failed(error));
      this.#say();
      await delay(Math.min(this.#options.everyMs, LOOK_MOST_MS), undefined, { signal }).catch(() => undefined);
    }
  }

  /** The files here cannot be read or written: tried again, and later each time. */
  #failed({ message }: Error): void {
    this.#problem = message;
    this.#wait();
  }

  async #round(): Promise<void> {
    const bytes = await this.#options.local('checkpoint');
    const head = bytes === null ? null : headOf(bytes);
    if (bytes === null || head === null || head.size === 0) return;
    this.#published = head.size;
    if (this.#looked?.equals(bytes) !== true) this.#otherLog = await compare(this.#newest, head, this.#options.local);
    this.#looked = bytes;
    if (this.#otherLog !== null || this.#newest?.size === head.size || performance.now() < this.#dueMs) return;
    await this.#stamp(bytes, head);
  }

  async #stamp(checkpoint: Buffer, head: Checkpoint): Promise<void> {
    for (const [at, stamper] of this.#options.stampers.entries()) {
      const askedMs = this.#options.nowMs();
      const stamped = await stamper.stamp(checkpoint, this.#closed.signal);
      if (this.#closed.signal.aborted) return;
      this.#learn(at, stamped);
      if ('stamp' in stamped) return this.#keep({ checkpoint, answer: stamped.answer }, head, { stamp: stamped.stamp, askedMs });
    }
    this.#wait();
  }

  async #keep(kept: { readonly checkpoint: Buffer; readonly answer: Buffer }, { size, root }: Checkpoint, { stamp, askedMs }: { readonly stamp: TimeStamp; readonly askedMs: number }): Promise<void> {
    const { dir, everyMs, clockBoundMs, nowMs } = this.#options;
    this.#clock = clockAlarm(stamp, { askedMs, answeredMs: nowMs(), clockBoundMs });
    if (!(await keepStamp(dir, size, kept))) throw new Error(`a stamp of a head of ${size} entries is there already, and cannot be read`);
    this.#newest = { size, root, timeMs: stamp.timeMs };
    this.#stamps += 1;
    this.#failures = 0;
    this.#dueMs = performance.now() + everyMs;
  }

  #wait(): void {
    const mostMs = Math.min(this.#options.everyMs, RETRY_MOST_MS);
    this.#dueMs = performance.now() + Math.min(RETRY_MS * 2 ** this.#failures, mostMs) * (0.5 + this.#options.random() / 2);
    this.#failures += 1;
  }

  #learn(at: number, stamped: Stamped): void {
    const before = this.#authorities[at] as Authority;
    const now: Authority = 'stamp' in stamped ? { name: before.name, state: 'stamped', failures: 0 } : { name: before.name, ...wordsOf(stamped), failures: before.failures + 1 };
    this.#authorities[at] = now;
    if (now.state !== before.state) this.#options.onState?.(now.name, now.state, now.detail ?? '');
  }

  #say(): void {
    writeStatusFile(`${this.#options.dir}/${STATUS_FILE}`, this.status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#closed.abort();
    await this.#running;
  }
}

/** The largest head that is kept and can be read. */
async function newestOf({ dir, trust }: StamperOptions, sizes: readonly number[]): Promise<Newest | null> {
  for (const size of sizes.toReversed()) {
    const kept = await readStamp(dir, size);
    const head = kept === null ? null : headOf(kept.checkpoint);
    if (kept === null || head?.size !== size) continue;
    const stamp = checkTimeStamp(kept.answer, { data: kept.checkpoint, trust });
    return { size, root: head.root, timeMs: 'timeMs' in stamp ? stamp.timeMs : null };
  }
  return null;
}

/** Whether the log goes on from the head that is stamped; null: it does. @throws TileError when it cannot be read, Error when its tiles are not those of its head */
async function compare(newest: Newest | null, head: Checkpoint, local: Fetch): Promise<Alarm | null> {
  if (newest === null) return null;
  if (head.size < newest.size) return { alarm: 'rollback', detail: `the log has ${head.size} entries, and a head of ${newest.size} is stamped` };
  const tree = tileTree(local, head.size);
  const proof = await consistencyProof(tree, newest.size, head.size);
  if (provesConsistency({ from: newest.size, fromRoot: newest.root, to: head.size, toRoot: head.root, proof })) return null;
  if (!(await rootAt(tree, head.size)).equals(head.root)) throw new Error('the tiles of the log are not those of its head');
  return { alarm: 'fork', detail: `the log is no continuation of the head of ${newest.size} entries that is stamped` };
}

function clockAlarm({ timeMs, accuracyMs, authority }: TimeStamp, { askedMs, answeredMs, clockBoundMs }: { readonly askedMs: number; readonly answeredMs: number; readonly clockBoundMs: number }): Alarm | null {
  const mayBeOffMs = (accuracyMs ?? 0) + clockBoundMs;
  if (timeMs + mayBeOffMs >= askedMs && timeMs - mayBeOffMs <= answeredMs) return null;
  return { alarm: 'clock', detail: `the clock of ${authority} said ${new Date(timeMs).toISOString()}, the clock here ${new Date(answeredMs).toISOString()}` };
}

function headOf(bytes: Buffer): Checkpoint | null {
  const note = parseNote(bytes);
  const head = 'bad' in note ? note : parseCheckpoint(note.text);
  return 'bad' in head ? null : head;
}

function wordsOf(stamped: Exclude<Stamped, { readonly stamp: TimeStamp }>): Pick<Authority, 'state' | 'detail'> {
  if ('away' in stamped) return { state: 'away', detail: stamped.away };
  return 'refused' in stamped ? { state: 'refused', detail: stamped.refused } : { state: 'bad', detail: stamped.bad };
}

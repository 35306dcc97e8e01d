import { open, readFile, rename } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { writeStatusFile } from '@caisson/follower';
import { cosignedAtMs, openNote, parseCheckpoint, parseNote, type Checkpoint, type Fetch } from '@caisson/tlog';
import { askWitness, type WitnessAnswer } from './ask.ts';
import type { FeedPlan } from './feed-config.ts';
import type { FeedStatus } from './feed-status.ts';

/** The last head that enough witnesses have signed, their lines behind it: a checkpoint like any other (C2SP tlog-checkpoint). */
export const WITNESSED_FILE = 'checkpoint';
const FEED_STATUS_FILE = 'status.json';

const HEARTBEAT_MS = 1_000;

export interface FeederOptions extends FeedPlan {
  /** The published files of the log. */
  readonly local: Fetch;
  /** Where the witnessed head and the status are kept; has to be there. */
  readonly dir: string;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly nowMs: () => number;
  /** Told when the state of a witness changes. */
  readonly onState?: (name: string, state: FeedStatus['witnesses'][number]['state'], detail: string) => void;
}

/** Of the witnessed head that is kept. */
interface Kept {
  readonly size: number;
  /** Of its newest cosignature. */
  readonly timeMs: number;
  readonly lines: number;
}

interface Known {
  state: FeedStatus['witnesses'][number]['state'];
  detail: string | undefined;
  signedEntries: number | null;
  failures: number;
}

/**
 * Takes each new head of one log to its witnesses until it is closed. A head that enough of them have signed takes the place
 * of the one before; it is never exchanged for a smaller one. Whatever a witness does, the log goes on.
 */
export class Feeder implements AsyncDisposable {
  readonly #options: FeederOptions;
  readonly #known: readonly Known[];
  readonly #closed = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #running: Promise<void>;
  #published = 0;
  #witnessed: Kept | null;

  private constructor(options: FeederOptions, kept: Kept | null) {
    this.#options = options;
    this.#witnessed = kept;
    this.#known = options.witnesses.map(() => ({ state: 'asking', detail: undefined, signedEntries: null, failures: 0 }));
    this.#heartbeat = setInterval(() => this.#say(), HEARTBEAT_MS);
    this.#running = this.#run();
  }

  /** @throws Error when what is kept cannot be read */
  static async open(options: FeederOptions): Promise<Feeder> {
    return new Feeder(options, await readKept(options));
  }

  get status(): FeedStatus {
    const { witnesses, quorum, nowMs } = this.#options;
    return {
      pid: process.pid,
      updatedMs: nowMs(),
      quorum,
      publishedEntries: this.#published,
      witnessedEntries: this.#witnessed?.size ?? null,
      witnessedMs: this.#witnessed?.timeMs ?? null,
      witnesses: witnesses.map(({ url, publicKey }, at) => ({ name: publicKey.name, url, ...(this.#known[at] as Known) })),
    };
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#round().catch(() => undefined); // the files here cannot be read or written: the next round tries again
      this.#say();
      await delay(this.#options.everyMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Asks those that have not signed the present head. */
  async #round(): Promise<void> {
    const bytes = await this.#options.local('checkpoint');
    const head = bytes === null ? null : headOf(bytes);
    if (bytes === null || head === null || head.size === 0) return;
    this.#published = head.size;
    if (this.#witnessed?.size === head.size && this.#witnessed.lines === this.#known.length) return;
    await this.#take(bytes, head.size);
  }

  async #take(bytes: Buffer, size: number): Promise<void> {
    const answers = await Promise.all(this.#options.witnesses.map((witness, at) =>
      askWitness(witness, { fetch: this.#options.local, checkpoint: bytes, knownSize: this.#known[at]?.signedEntries ?? 0 })));
    if (this.#closed.signal.aborted) return;
    const isStale = answers.some((answer) => 'refused' in answer) && !(await this.#options.local('checkpoint'))?.equals(bytes);
    if (!isStale) for (const [at, answer] of answers.entries()) this.#learn(at, answer, size);
    const signed = answers.filter((answer) => 'line' in answer);
    if (signed.length < this.#options.quorum || !isMore({ size, lines: signed.length }, this.#witnessed)) return;
    await this.#keep(Buffer.concat([bytes, ...signed.map(({ line }) => Buffer.from(line))]));
    this.#witnessed = { size, timeMs: Math.max(...signed.map(({ timeMs }) => timeMs)), lines: signed.length };
  }

  #learn(at: number, answer: WitnessAnswer, size: number): void {
    const known = this.#known[at] as Known;
    const before = known.state;
    if ('line' in answer) Object.assign(known, { state: 'signed', detail: undefined, signedEntries: size, failures: 0 } satisfies Known);
    else Object.assign(known, { ...wordsOf(answer), failures: known.failures + 1 });
    if (known.state !== before) this.#options.onState?.(this.#options.witnesses[at]?.publicKey.name ?? '', known.state, known.detail ?? '');
  }

  /** Readers see the old head or the new one, whole, also after a crash of the machine. */
  async #keep(bytes: Buffer): Promise<void> {
    const path = `${this.#options.dir}/${WITNESSED_FILE}`;
    {
      await using file = await open(`${path}.new`, 'w', 0o640);
      await file.writeFile(bytes);
      await file.sync();
    }
    await rename(`${path}.new`, path);
  }

  #say(): void {
    writeStatusFile(`${this.#options.dir}/${FEED_STATUS_FILE}`, this.status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#closed.abort();
    await this.#running;
  }
}

/** What an earlier feeder has kept, by the keys that are configured now. */
async function readKept({ dir, witnesses }: FeederOptions): Promise<Kept | null> {
  const bytes = await readFile(`${dir}/${WITNESSED_FILE}`).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  const head = bytes === null ? null : headOf(bytes);
  if (bytes === null || head === null) return null;
  const note = openNote(bytes, witnesses.map(({ publicKey }) => publicKey));
  const signatures = 'bad' in note ? [] : note.signatures.filter(({ id }) => witnesses.some(({ publicKey }) => publicKey.id === id));
  return { size: head.size, timeMs: Math.max(0, ...signatures.map(cosignedAtMs)), lines: signatures.length };
}

function headOf(bytes: Buffer): Checkpoint | null {
  const note = parseNote(bytes);
  const head = 'bad' in note ? note : parseCheckpoint(note.text);
  return 'bad' in head ? null : head;
}

/** A larger head, or the same with more signatures. */
function isMore(one: Pick<Kept, 'size' | 'lines'>, kept: Kept | null): boolean {
  return kept === null || one.size > kept.size || (one.size === kept.size && one.lines > kept.lines);
}

function wordsOf(answer: Exclude<WitnessAnswer, { readonly line: string }>): Pick<Known, 'state' | 'detail'> {
  if ('alarm' in answer) return { state: answer.alarm, detail: `it has seen ${answer.witnessSize} entries of another log of this name` };
  return 'away' in answer ? { state: 'away', detail: answer.away } : { state: 'refused', detail: answer.refused };
}

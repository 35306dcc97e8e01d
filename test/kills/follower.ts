import { join } from 'node:path';
import type { Entry } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { createCheckpoint, emptyState, foldAll, openCheckpointFile, openProjection, stateHash, type Projection, type State } from '@caisson/projection';
import { EMPTY_EDGE, generateKey, grow, rootOf, SIGNATURE_TYPE, signerOf, signNote, type Edge } from '@caisson/tlog';
import { folder } from '../projection/given.ts';

/** Entries between two checkpoints of the state. */
const CHECKPOINT_EVERY = 100;

/** An entry of the log, and the hash of its leaf. */
export interface Line {
  readonly entry: Entry;
  readonly hash: string;
}

interface Saved {
  readonly entries: number;
  readonly file: Buffer;
}

/** Folds the log while it is written, into a state, into a database, and from time to time into a signed checkpoint. */
export class Follower implements AsyncDisposable {
  readonly #place = folder();
  readonly #signer = signerOf(generateKey('caisson.example/kills', SIGNATURE_TYPE.ed25519));
  readonly #stop = new AbortController();
  readonly #projection: Projection;
  readonly #done: Promise<void>;
  readonly saved: Saved[] = [];
  #state: State = emptyState();
  #edge: Edge = EMPTY_EDGE;
  #failure: Error | null = null;

  constructor(evidence: string) {
    this.#projection = openProjection(join(this.#place.path, 'live.db'));
    this.#done = this.#follow(evidence).catch((error: unknown) => void (this.#failure = error as Error));
  }

  /** How many entries it has. @throws whatever ended it */
  get entries(): number {
    if (this.#failure !== null) throw this.#failure;
    return this.#state.entries;
  }

  async #follow(evidence: string): Promise<void> {
    for await (const line of readEntries(evidence, { follow: true, signal: this.#stop.signal })) await this.#take(line);
  }

  async #take({ entry, hash }: Line): Promise<void> {
    this.#state = foldAll(this.#state, [entry]);
    this.#projection.apply([{ entry, hash }]);
    this.#edge = grow(this.#edge, Buffer.from(hash, 'hex'));
    if (this.#state.entries % CHECKPOINT_EVERY !== 0) return;
    const root = rootOf(this.#edge).toString('hex');
    const { bytes } = await createCheckpoint({ state: this.#state, origin: this.#signer.publicKey.name, root, timeMs: entry.timeMs, sign: (text) => signNote(text, [this.#signer]) });
    this.saved.push({ entries: this.#state.entries, file: bytes });
  }

  /** Takes no more: a log that is read after this has all that it has. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  /** Every way in which the state of the log came about while it was written, and the hash that it came to. */
  hashes(lines: readonly Line[]): Readonly<Record<string, string>> {
    const { entries } = this; // throws where it has failed
    const rest = (from: number): readonly Line['entry'][] => lines.slice(from).map(({ entry }) => entry);
    const found: Record<string, string> = {
      live: stateHash(foldAll(this.#state, rest(entries))),
      database: stateHash(foldAll(this.#projection.state, rest(this.#projection.state.entries))),
    };
    for (const { entries: at, file } of this.saved) {
      const opened = openCheckpointFile(file, [this.#signer.publicKey]);
      found[`checkpoint at ${at}`] = 'bad' in opened ? opened.bad : stateHash(foldAll(opened.state, rest(at)));
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#projection[Symbol.dispose]();
    this.#place[Symbol.dispose]();
  }
}

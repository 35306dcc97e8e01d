import { rm } from 'node:fs/promises';
import { CHECKPOINT_FILE, OWNER_ONLY, writeFiles, type Readers } from './folder.ts';
import { growTip, type Leaf, type Tip } from './growth.ts';
import { journalName, journalsIn } from './journal.ts';

/** A head that is durable, and the leaves that are new since the one before. */
export interface Head {
  readonly size: number;
  /** The signed checkpoint. */
  readonly checkpoint: string;
}

/**
 * Brings what is durable in the journal into tiles, which anybody can read and keep: bundles, tiles, then the checkpoint, so
 * that a checkpoint never stands over what is not there. One at a time; appends do not wait for it.
 */
export class Publisher implements AsyncDisposable {
  readonly #dir: string;
  readonly #everyMs: number;
  readonly #readers: Readers;
  #tip: Tip;
  #leaves: Leaf[] = [];
  #head: Head | null = null;
  #timer: NodeJS.Timeout | undefined;
  #publishing: Promise<void> = Promise.resolve();
  #waitingBytes = 0;

  constructor({ dir, tip, leaves, everyMs, readers = OWNER_ONLY }: { readonly dir: string; readonly tip: Tip; readonly leaves: readonly Leaf[]; readonly everyMs: number; readonly readers?: Readers }) {
    this.#dir = dir;
    this.#tip = tip;
    this.#leaves = [...leaves];
    this.#everyMs = everyMs;
    this.#readers = readers;
    this.#waitingBytes = bytesOf(leaves);
  }

  /** Bytes of entries that are not in tiles yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes what has become durable. */
  add(leaves: readonly Leaf[], head: Head): void {
    for (const leaf of leaves) this.#leaves.push(leaf);
    this.#waitingBytes += bytesOf(leaves);
    this.#head = head;
    this.#timer ??= setTimeout(() => void this.publish().catch(() => undefined), this.#everyMs);
  }

  /** Resolves when all that was added before is in tiles. Rejects when that failed; what was added is kept for the next time. */
  publish(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const publishing = this.#publishing.catch(() => undefined).then(() => this.#publish());
    this.#publishing = publishing;
    return publishing;
  }

  async #publish(): Promise<void> {
    const head = this.#head;
    if (head === null) return;
    const leaves = this.#leaves.slice(0, head.size - this.#tip.size);
    const { tip, files, outdated } = growTip(this.#tip, leaves);
    try {
      await writeFiles(this.#dir, files, this.#readers);
      await writeFiles(this.#dir, [{ path: CHECKPOINT_FILE, bytes: Buffer.from(head.checkpoint) }], this.#readers);
    } catch (error) {
      this.#timer ??= setTimeout(() => void this.publish().catch(() => undefined), this.#everyMs);
      throw error;
    }
    this.#tip = tip;
    this.#waitingBytes -= bytesOf(leaves);
    this.#leaves.splice(0, leaves.length);
    if (this.#head === head) this.#head = null;
    for (const folder of outdated) await rm(`${this.#dir}/${folder}`, { recursive: true, force: true });
    await this.#dropJournals();
  }

  /** A journal goes once all of it is in tiles and another has begun: what follows it says that it was whole. */
  async #dropJournals(): Promise<void> {
    const firsts = await journalsIn(this.#dir);
    for (const [at, first] of firsts.entries()) {
      const next = firsts[at + 1];
      if (next !== undefined && next <= this.#tip.size) await rm(`${this.#dir}/${journalName(first)}`, { force: true });
    }
  }

  /** Publishes what is left. What cannot be is in the journal. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.publish().catch(() => undefined);
    clearTimeout(this.#timer);
  }
}

function bytesOf(leaves: readonly Leaf[]): number {
  return leaves.reduce((sum, { entry }) => sum + entry.length, 0);
}

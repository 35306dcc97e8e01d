import { CaissonError } from '@caisson/contract';

/**
 * Host uids of one instance. systemd's table of uid ranges (systemd.io/UIDS-GIDS) leaves 1879048192…2147483647 unused;
 * it is cut into 2048 blocks of 131072, and the instance's id picks its block. Its first and its last two slots are for Caisson's own processes;
 * every other slot gives one sandbox two ids: the root of its user namespace, which nothing runs as, and its agent.
 */
const FIRST_UID = 1_879_048_192;
const BLOCK = 131_072;
const BLOCKS = 2_048;
const SLOTS = BLOCK / 2 - 4;

export function uidBase(instance: string): number {
  return FIRST_UID + Number(BigInt(`0x${instance}`) % BigInt(BLOCKS)) * BLOCK;
}

/** Uids of Caisson's own processes when started as root. */
export function processUids(instance: string): { readonly control: number; readonly scribe: number; readonly gate: number; readonly images: number; readonly archiver: number; readonly feeder: number; readonly mirror: number } {
  const base = uidBase(instance);
  return { control: base, scribe: base + 1, gate: base + BLOCK - 2, images: base + BLOCK - 1, archiver: base + BLOCK - 4, feeder: base + BLOCK - 6, mirror: base + BLOCK - 3 };
}

/** Hands out uid slots, each to one sandbox at a time and the least recently used first. */
export class Slots {
  readonly #base: number;
  readonly #taken = new Set<number>();
  #next: number;

  /** @param start Any number; a new launcher starts elsewhere than the last, so that uids are not reused soon. */
  constructor(base: number, start: number) {
    this.#base = base;
    this.#next = start % SLOTS;
  }

  take(): { readonly slot: number; readonly hostUid: number } {
    for (let tried = 0; tried < SLOTS; tried++) {
      const slot = 1 + this.#next;
      this.#next = (this.#next + 1) % SLOTS;
      if (this.#taken.has(slot)) continue;
      this.#taken.add(slot);
      return { slot, hostUid: this.#base + 2 * slot };
    }
    throw new CaissonError('LAUNCH_FAILED', { detail: `all ${SLOTS} uid slots are taken` });
  }

  give(slot: number): void {
    this.#taken.delete(slot);
  }
}

import { createHash } from 'node:crypto';

/** Numbers of one purpose: those of another purpose do not change when this one draws more. */
export interface Stream {
  /** An integer from 0 to below `most`. */
  below(most: number): number;
  pick<Item>(items: readonly Item[]): Item;
  /** Hex digits. */
  hex(length: number): string;
}

/** The stream of a name and a seed: SHA-256 over both and a counter, and so the same on every machine. */
export function stream(seed: string, name: string): Stream {
  let drawn = 0;
  const block = (): Buffer => createHash('sha256').update(`caisson stream\n${seed}\n${name}\n${drawn++}`).digest();
  const below = (most: number): number => block().readUIntBE(0, 6) % most;
  return {
    below,
    pick(items) {
      const item = items[below(items.length)];
      if (item === undefined) throw new RangeError('nothing to pick from');
      return item;
    },
    hex: (length) => block().toString('hex').slice(0, length),
  };
}

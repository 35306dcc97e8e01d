import type { CountedRefusal, Json, Refusal } from '@caisson/contract';

/** Refusals that are told apart; a sandbox that tries more places than these is on record with their number. */
const DISTINCT_MOST = 256;
const TEXT_MOST = 512;

/**
 * What one sandbox has been refused. The first of each kind is to be put on record at once, the number of the others later,
 * so that no sandbox can fill the log by trying.
 */
export class Refusals {
  readonly #counts = new Map<string, { refusal: Refusal; count: number; told: number; lastMs: number }>();
  #beyond = 0;
  #beyondTold = 0;

  /** @returns whether it is the first of its kind, and to be put on record now */
  add(refusal: Refusal, nowMs: number): boolean {
    const key = `${refusal.what} ${refusal.to} ${refusal.rule ?? ''} ${refusal.reason}`.slice(0, 2 * TEXT_MOST);
    const known = this.#counts.get(key);
    if (known !== undefined) {
      known.count += 1;
      known.lastMs = nowMs;
      return false;
    }
    if (this.#counts.size >= DISTINCT_MOST) {
      this.#beyond += 1;
      return false;
    }
    this.#counts.set(key, { refusal: cut(refusal), count: 1, told: 1, lastMs: nowMs });
    return true;
  }

  /** What has been counted and not been told yet, as a body of evidence; null when there is nothing. */
  takeUntold(): Json | null {
    const untold = [...this.#counts.values()].filter(({ count, told }) => count > told);
    const beyond = this.#beyond - this.#beyondTold;
    if (untold.length === 0 && beyond === 0) return null;
    const again = untold.map((each) => {
      const more = each.count - each.told;
      each.told = each.count;
      return { what: each.refusal.what, to: each.refusal.to, more };
    });
    this.#beyondTold = this.#beyond;
    return { event: 'refused-again', again, others: beyond };
  }

  /** The latest first. */
  list(most: number): readonly CountedRefusal[] {
    return [...this.#counts.values()].toSorted((a, b) => b.lastMs - a.lastMs).slice(0, most).map(({ refusal, count, lastMs }) => ({ ...refusal, count, lastMs }));
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, { count }) => sum + count, this.#beyond);
  }
}

/** What a sandbox sent goes into the log escaped and of bounded length. */
export function cut<T extends Refusal>(refusal: T): T {
  return { ...refusal, to: plain(refusal.to), reason: plain(refusal.reason) };
}

/** A text that drives no terminal and fills no log. */
export function plain(text: string): string {
  return text.replace(/[^\u0020-\u007e]/g, (c) => `\\x${(c.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`).slice(0, TEXT_MOST);
}

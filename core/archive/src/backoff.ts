const FIRST_MS = 200;
const LONGEST_MS = 30_000;

/**
 * How long to wait after the `nth` failure in a row, counted from 1, in milliseconds: between half a bound and the bound,
 * which doubles from 200 ms to 30 s. Many clients of a store that comes back do not come together.
 *
 * @param random at least 0 and below 1
 */
export function waitMs(nth: number, random: number): number {
  const boundMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(nth - 1, 30));
  return Math.ceil((boundMs / 2) * (1 + random));
}

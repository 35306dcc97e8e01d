/**
 * The least of up to three measurements: a machine that does something else meanwhile makes one larger, and nothing makes it
 * smaller. It is measured again only where it was not below `enough`, and what is measured must do the same each time.
 */
export async function leastOf(enough: number, measure: () => Promise<number>): Promise<number> {
  let least = Infinity;
  for (let turn = 0; turn < 3 && least >= enough; turn++) least = Math.min(least, await measure());
  return least;
}

/** How long something takes, in milliseconds, as `leastOf` has it. */
export function leastMs(enoughMs: number, once: () => void): number {
  let least = Infinity;
  for (let turn = 0; turn < 3 && least >= enoughMs; turn++) {
    const startMs = performance.now();
    once();
    least = Math.min(least, performance.now() - startMs);
  }
  return least;
}

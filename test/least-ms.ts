/**
 * How long something takes, in milliseconds: the least of up to three times, for a machine that does something else meanwhile
 * makes it longer, and nothing makes it shorter. It is done again only where it took longer than `enoughMs`, and must do the same each time.
 */
export function leastMs(enoughMs: number, once: () => void): number {
  let least = Infinity;
  for (let turn = 0; turn < 3 && least >= enoughMs; turn++) {
    const startMs = performance.now();
    once();
    least = Math.min(least, performance.now() - startMs);
  }
  return least;
}

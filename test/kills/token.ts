/** Bits of a token: each spells one step of a path that leads to the same program. */
const BITS = 20;

/**
 * The shell by a path that holds a number. The record has the name of a program as it was asked for, and so the number of
 * each intent, which no argument would be.
 */
export function shellOf(token: number): string {
  const steps = token.toString(2).padStart(BITS, '0').replace(/./g, (bit) => (bit === '1' ? './' : '/'));
  return `/bin/${steps}sh`;
}

/** The number that a program's name holds; null: it is another program. */
export function tokenOf(program: string): number | null {
  const [, steps] = /^\/bin\/((?:\.?\/){20})sh$/.exec(program) ?? [];
  return steps === undefined ? null : Number.parseInt(steps.replaceAll('./', '1').replaceAll('/', '0'), 2);
}

import type { Observation } from './probe.ts';

export const VERDICTS = ['held', 'through', 'unproven', 'broken'] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface Judgement {
  readonly verdict: Verdict;
  /** One clause: why it is this verdict and no other. */
  readonly why: string;
}

/**
 * What an attack from inside, and the same attack outside the walls, say about a wall. It is held only when the
 * attack fails inside and works outside: an attack that works nowhere proves nothing.
 */
export function judge(inside: Observation, control: Observation): Judgement {
  if (inside.through === true) return { verdict: 'through', why: 'the attack worked inside' };
  if (inside.through === null) return { verdict: 'broken', why: `the attack could not be tried inside: ${inside.saw}` };
  if (control.through === null) return { verdict: 'broken', why: `the positive control could not be tried: ${control.saw}` };
  if (!control.through) return { verdict: 'unproven', why: `the attack does not work outside either: ${control.saw}` };
  return { verdict: 'held', why: 'the attack works outside and failed inside' };
}

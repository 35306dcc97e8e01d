import { printable } from '@caisson/contract/errors';
import type { NetworkState } from '@caisson/contract';
import { note } from './say.ts';

/** Refusals that are told. */
const TOLD_MOST = 5;

/** Says on stderr what the gate refused: a command that failed may have failed for that. */
export function explainRefused({ refused, refusedTotal }: Pick<NetworkState, 'refused' | 'refusedTotal'>): void {
  const told = refused.slice(0, TOLD_MOST);
  for (const { to, reason, wouldAllow } of told) {
    const fix = wouldAllow === undefined ? '' : `; would be allowed by ${wouldAllow}`;
    note(`network: ${printable(`${to} was refused: ${reason}${fix}`)}`);
  }
  const others = refusedTotal - told.reduce((sum, { count }) => sum + count, 0);
  if (others > 0) note(`network: ${others} further attempts were refused`);
}

import { CaissonError, type ApprovalAnswer, type Decided } from '@caisson/contract';
import type { Rooms } from './rooms.ts';
import { lifecycle } from './stay-record.ts';

interface Deciding {
  readonly approval: string;
  readonly answer: ApprovalAnswer;
  readonly caller: string;
}

/**
 * Decides what a sandbox waits for: on record, with who decided → in force at the gate.
 *
 * @throws CaissonError APPROVAL_NOT_FOUND, EVIDENCE_UNAVAILABLE, NETWORK_UNAVAILABLE
 */
export async function decideApproval({ approval, answer, caller }: Deciding, rooms: Pick<Rooms, 'gate' | 'evidence'>): Promise<Decided> {
  const attempt = (await rooms.gate.held()).find(({ id }) => id === approval);
  if (attempt === undefined) throw new CaissonError('APPROVAL_NOT_FOUND', { approval });
  const { sandbox, what, host, port, method, rules } = attempt;
  await rooms.evidence.append(lifecycle(sandbox, 'approval', { caller, approval, decision: answer.decision, for: answer.for ?? 'once', what, host, port, method, rules }));
  const decided = await rooms.gate.decide({ sandbox, approval, answer });
  if (decided === null) throw new CaissonError('APPROVAL_NOT_FOUND', { approval });
  return decided;
}

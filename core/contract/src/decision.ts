import type { ErrorContext, ErrorCode } from './errors.ts';
import type { Level } from './level.ts';
import type { Limits } from './limits.ts';

/** What was decided about a call, by which rule and why. Never a bare boolean. */
export type Decision = Allowed | Denied;

export interface Allowed {
  readonly effect: 'allow';
  readonly rule: string;
  readonly reason: string;
  readonly level: Level;
  readonly limits: Limits;
  /** Limits that the level cannot hold to on their own; what they bound counts against memory there. */
  readonly notEnforced: readonly (keyof Limits)[];
}

export interface Denied {
  readonly effect: 'deny';
  readonly rule: string;
  readonly reason: string;
  /** The smallest change of the request or policy that would have been allowed. */
  readonly wouldAllow: string;
  readonly code: ErrorCode;
  readonly context: ErrorContext;
}

import type { Level, NetworkRequest, SomeLimits } from '@caisson/contract';

/** What is asked for that a policy has a say in. */
export interface Asked {
  readonly level?: Level;
  readonly limits?: SomeLimits;
  readonly network?: NetworkRequest;
  readonly secrets?: readonly string[];
  readonly auditMirror?: boolean;
}

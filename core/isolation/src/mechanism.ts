import type { Allowed, HostFacts, IsolationSpec, Seccomp } from '@caisson/contract';

export interface CompileInput {
  readonly id: string;
  readonly decision: Allowed;
  readonly host: HostFacts;
  /** The shipped filter, `profiles/seccomp/default.json`. */
  readonly seccomp: Seccomp;
}

/** The shape of every kernel mechanism: what was decided in, its own fields of the spec out. */
export type Mechanism<Field extends keyof IsolationSpec> = (input: CompileInput) => Pick<IsolationSpec, Field>;

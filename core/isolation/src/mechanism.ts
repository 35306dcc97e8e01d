import type { Allowed, HostFacts, IsolationSpec, Seccomp, SecretFileSpec } from '@caisson/contract';

export interface CompileInput {
  readonly id: string;
  readonly decision: Allowed;
  readonly host: HostFacts;
  /** The shipped filter, `profiles/seccomp/default.json`. */
  readonly seccomp: Seccomp;
  /** What it runs from. Default `host`. */
  readonly image?: IsolationSpec['image'];
  /** Id of the workspace at /workspace. Default: a sized tmpfs that goes away with the sandbox. */
  readonly workspace?: string;
  /** Name of the host inside. Default `caisson`, the same in every sandbox. */
  readonly hostname?: string;
  /** Whether programs may open terminals. Default false. At level gvisor they always may: gVisor does and counts that work itself. */
  readonly terminals?: boolean;
  /** Whether it has a link to the gate. Default false. */
  readonly network?: boolean;
  /** Certificate, as PEM, of an authority that this sandbox alone trusts; only with a link to the gate. Default: there is none. */
  readonly certificate?: string;
  /** Secrets that it gets as files, and to whom they are leased. Default: there are none. */
  readonly secrets?: { readonly sandbox: string; readonly files: readonly SecretFileSpec[] };
  /** Whose records it sees, and the index in the log below which there are none. Default: it sees none. */
  readonly mirror?: { readonly sandbox: string; readonly from: number };
}

/** The shape of every kernel mechanism: what was decided in, its own fields of the spec out. */
export type Mechanism<Field extends keyof IsolationSpec> = (input: CompileInput) => Pick<IsolationSpec, Field>;

import type { EntryDraft, EvidenceLog, HostFacts, IsolationSpec, Policy, Seccomp } from '@caisson/contract';
import type { Machine, OutputStream } from '@caisson/runtime';

/** Everything a call needs of the other rooms. */
export interface Rooms {
  readonly policy: { readonly value: Policy; readonly sha256: string };
  readonly seccomp: Seccomp;
  readonly evidence: EvidenceLog;
  /** Takes an outcome that the log could not take now. */
  readonly doubts: { add(outcome: EntryDraft): void };
  /** What the host can do; `again` measures it anew. */
  host(options: { readonly again: boolean }): Promise<HostFacts>;
  launch(spec: IsolationSpec, options: { readonly signal: AbortSignal }): Promise<Machine>;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  randomBytes(length: number): Buffer;
}

/** The caller's side of one call. */
export interface Client {
  /** Who calls, as the daemon knows it. */
  readonly name: string;
  /** Aborted when the caller is gone; the sandbox is closed then. */
  readonly signal: AbortSignal;
  /** The command's stdin; read only when the request asks for it. */
  readonly stdin: AsyncIterable<Buffer>;
  /** Takes output, in order. The promise is the back-pressure. */
  write(stream: OutputStream, bytes: Buffer): Promise<void>;
}

import type { EntryDraft, EvidenceLog, HostFacts, IsolationSpec, NetworkRequest, NetworkState, Policy, Seccomp } from '@caisson/contract';
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
  readonly gate: GateRoom;
  launch(spec: IsolationSpec, options: { readonly signal: AbortSignal }): Promise<Machine>;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  randomBytes(length: number): Buffer;
}

/** A sandbox that may speak. */
export interface Admission {
  readonly sandbox: string;
  /** IPv4 address of its link. */
  readonly address: string;
  readonly network: NetworkRequest;
}

/** The gate, by which sandboxes reach the network. */
export interface GateRoom {
  /**
   * Lets a sandbox speak within rules, from when this resolves. Called again, it changes the rules, and cuts the connections
   * that they no longer allow. A gate that is started anew is told again.
   *
   * @throws CaissonError NETWORK_UNAVAILABLE
   */
  admit(admission: Admission): Promise<void>;
  /**
   * Cuts every connection of a sandbox and puts on record what passed. Idempotent; resolves when that is done or cannot be.
   *
   * @returns the last state of it; null when the gate does not know it, or not any more
   */
  dismiss(sandbox: string): Promise<NetworkState | null>;
  /** Null: the gate does not know it, or not yet. @throws CaissonError NETWORK_UNAVAILABLE */
  state(sandbox: string): Promise<NetworkState | null>;
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

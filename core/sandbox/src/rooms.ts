import type { AnyLease, ApprovalAnswer, Decided, HeldAttempt, CertificateAuthority, EntryDraft, EvidenceLog, HostFacts, IsolationSpec, Lease, NetworkRequest, NetworkState, Policy, Seccomp } from '@caisson/contract';
import type { Machine, OutputStream } from '@caisson/runtime';

/** Everything a call needs of the other rooms. */
export interface Rooms {
  readonly policy: { readonly value: Policy; readonly sha256: string };
  readonly seccomp: Seccomp;
  readonly evidence: EvidenceLog;
  /** Takes an outcome that the log could not take now. */
  readonly doubts: { add(outcome: EntryDraft): void; addNotBegun(outcome: EntryDraft): void };
  /** What the host can do; `again` measures it anew. */
  host(options: { readonly again: boolean }): Promise<HostFacts>;
  readonly gate: GateRoom;
  readonly vault: VaultRoom;
  launch(spec: IsolationSpec, options: { readonly signal: AbortSignal }): Promise<Machine>;
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** Wall time in milliseconds since 1970 UTC. */
  wallMs(): number;
  randomBytes(length: number): Buffer;
}

/** A sandbox that may speak. */
export interface Admission {
  readonly sandbox: string;
  /** Whose it is: what is sealed of its requests is sealed by a key of theirs. */
  readonly caller: string;
  /** IPv4 address of its link. */
  readonly address: string;
  readonly network: NetworkRequest;
  readonly authority: CertificateAuthority | null;
  readonly leases: readonly Lease[];
}

/** Secrets, which control knows by their names. */
export interface VaultRoom {
  /** All of them or none; asked again, the same. @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE */
  lease(asked: { readonly sandbox: string; readonly secrets: readonly string[]; readonly expiresMs: number }): Promise<readonly AnyLease[]>;
  /** Tells the vault of leases that a control before this one was given: it may be another than theirs. */
  adopt(held: { readonly sandbox: string; readonly leases: readonly AnyLease[] }): Promise<void>;
  /** What a sandbox has, and how often each was given away. @throws CaissonError SECRET_UNAVAILABLE */
  list(sandbox: string): Promise<readonly { readonly lease: AnyLease; readonly uses: number; readonly lastMs: number | null }[]>;
  /** Forgets what was leased to a sandbox. Idempotent. */
  release(sandbox: string): Promise<void>;
  /** @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
  revoke(sandbox: string, secret: string): Promise<void>;
  /** Takes the value anew from where it comes, for every lease. @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE; the leases keep the value that they had then */
  rotate(secret: string): Promise<void>;
}

/** The gate, by which sandboxes reach the network. */
export interface GateRoom {
  /**
   * Lets a sandbox speak within rules, from when this resolves. Called again, it changes the rules, and cuts the connections
   * that they no longer allow. A gate that is started anew is told again.
   *
   * @throws CaissonError NETWORK_UNAVAILABLE, SECRET_UNAVAILABLE, LEASE_NOT_FOUND
   */
  admit(admission: Admission): Promise<void>;
  /** Makes an authority that a sandbox is to trust, for these names. */
  certify(asked: { readonly sandbox: string; readonly names: readonly string[]; readonly expiresMs: number }): Promise<CertificateAuthority>;
  /**
   * Cuts every connection of a sandbox and puts on record what passed. Idempotent; resolves when that is done or cannot be.
   *
   * @returns the last state of it; null when the gate does not know it, or not any more
   */
  dismiss(sandbox: string): Promise<NetworkState | null>;
  /** What waits for a decision, of all sandboxes. @throws CaissonError NETWORK_UNAVAILABLE */
  held(): Promise<readonly HeldAttempt[]>;
  /** Null: nothing waits under this id. @throws CaissonError NETWORK_UNAVAILABLE */
  decide(decision: { readonly sandbox: string; readonly approval: string; readonly answer: ApprovalAnswer }): Promise<Decided | null>;
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

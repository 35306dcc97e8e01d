import type { Duplex } from 'node:stream';
import type { ApprovalAnswer, Decided, HeldAttempt, CreateRequest, ExecEvent, ExecInfo, ExecRequest, LiveUsage, NetworkInfo, NetworkRequest, SandboxInfo, SecretInfo, TerminalSize } from '@caisson/contract';

/** Who asks, and how the answer to a repeated request is found again. */
export interface Asking {
  /** Who calls, as the daemon knows it. */
  readonly caller: string;
  /** Idempotency key: the same key and request again give the first answer; the same key and another request are refused. */
  readonly key?: string;
  /** Whether the caller of an exec goes on to its end: what ends at once is then answered with its end at hand. Default false. */
  readonly follows?: boolean;
  /** Whether the named workspace of a new sandbox must be new as well: one that is there is then WORKSPACE_EXISTS. Default false. */
  readonly freshWorkspace?: boolean;
  /** The key as its caller chose it, for messages: `key` may hold more, so that it is no other caller's. Default `key`. */
  readonly chosenKey?: string;
}

export interface Renewal {
  readonly ttlMs?: number;
  readonly idleMs?: number;
  readonly keepAlive?: boolean;
}

/**
 * Sandboxes that stay. Every method rejects with a CaissonError: SANDBOX_NOT_FOUND, EXEC_NOT_FOUND and SANDBOX_STATE
 * (not possible in the state that the sandbox is in) besides those it names. A sandbox is named by its id or its name.
 */
export interface SandboxService {
  /** Resolves when the sandbox is attested and can run commands. @throws what a refused or failed start says */
  create(request: CreateRequest, asking: Asking): Promise<SandboxInfo>;
  /** Newest first, the ended ones that are still remembered included. */
  list(): readonly SandboxInfo[];
  get(sandbox: string): SandboxInfo;
  usage(sandbox: string): Promise<LiveUsage>;
  renew(sandbox: string, renewal: Renewal): SandboxInfo;
  /** @throws CaissonError NETWORK_ABSENT, NETWORK_UNAVAILABLE */
  networkState(sandbox: string): Promise<NetworkInfo>;
  /**
   * Gives a sandbox that was made with a network these rules instead of those that it has. Resolves when they hold: what they
   * no longer allow is cut.
   *
   * @throws CaissonError NETWORK_ABSENT, EGRESS_EXCEEDS_POLICY, NETWORK_UNAVAILABLE
   */
  changeNetwork(sandbox: string, network: NetworkRequest, asking: Asking): Promise<NetworkInfo>;
  /** What waits for a decision, of all sandboxes, also of those that do not stay. @throws CaissonError NETWORK_UNAVAILABLE */
  approvals(): Promise<readonly HeldAttempt[]>;
  /** @throws CaissonError APPROVAL_NOT_FOUND, EVIDENCE_UNAVAILABLE, NETWORK_UNAVAILABLE */
  decideApproval(approval: string, answer: ApprovalAnswer, asking: Asking): Promise<Decided>;
  /** The secrets that a sandbox may use now, and how often each was used. @throws CaissonError SANDBOX_NOT_FOUND, SECRET_UNAVAILABLE, NETWORK_UNAVAILABLE */
  secrets(sandbox: string): Promise<readonly SecretInfo[]>;
  /** Takes a secret from a sandbox now. @throws CaissonError SANDBOX_NOT_FOUND, LEASE_NOT_FOUND, EVIDENCE_UNAVAILABLE */
  revokeSecret(sandbox: string, secret: string, asking: Asking): Promise<SandboxInfo>;
  /** Takes the value of a secret anew from where it comes, for every sandbox that has it. Resolves to their ids. @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE */
  rotateSecret(secret: string, asking: Asking): Promise<readonly string[]>;
  pause(sandbox: string, asking: Asking): Promise<SandboxInfo>;
  resume(sandbox: string, asking: Asking): Promise<SandboxInfo>;
  /** Ends every process. Idempotent. Resolves when nothing of it runs and its outcome is on record. */
  close(sandbox: string, asking: Asking): Promise<SandboxInfo>;

  /** Resolves when the command has been handed to the sandbox, or soon after for who follows it; it runs whether anybody follows it or not. */
  exec(sandbox: string, request: ExecRequest, asking: Asking): Promise<ExecInfo>;
  execs(sandbox: string): readonly ExecInfo[];
  execInfo(sandbox: string, exec: string): ExecInfo;
  /**
   * Output from an offset on and then the end, each byte once, from any number of followers at once.
   *
   * @param from Bytes to skip of the two streams together, as `offset + bytes.length` of the last event seen. Default 0.
   * @throws CaissonError OUTPUT_GONE when what is asked for is no longer kept
   */
  follow(sandbox: string, exec: string, options: { readonly from?: number; readonly signal: AbortSignal }): AsyncIterable<ExecEvent>;
  /** The recording of an exec as it is now: what it wrote, with times. @throws CaissonError EXEC_NOT_FOUND, OUTPUT_GONE */
  recording(sandbox: string, exec: string, options: { readonly signal: AbortSignal }): AsyncIterable<Buffer>;
  /** Resolves when the command has ended. */
  wait(sandbox: string, exec: string, options: { readonly signal: AbortSignal }): Promise<ExecInfo>;
  /**
   * Resolves when the sandbox has room for more. Bytes at an offset that has been taken before are dropped, so a writer
   * that does not know what arrived sends again.
   *
   * @returns stdin bytes taken so far
   */
  stdin(sandbox: string, exec: string, bytes: Buffer, options: { readonly offset?: number }): Promise<number>;
  endStdin(sandbox: string, exec: string): Promise<void>;
  /** To the whole process group; 9 to every process of the exec's session. */
  signal(sandbox: string, exec: string, signal: number): Promise<void>;
  resize(sandbox: string, exec: string, size: TerminalSize): Promise<void>;

  /** It is in use, and so not idle, until this is disposed of. A connection to a port is in use as long as it is open. */
  use(sandbox: string): Disposable;
  /** A connection to a TCP port of the sandbox's own loopback. @throws CaissonError PORT_REFUSED */
  dial(sandbox: string, port: number, asking: Asking): Promise<Duplex>;
  /** A connection to the helper that serves the files of the sandbox's workspace, for a FilesClient. */
  files(sandbox: string, asking: Asking): Promise<Duplex>;

  /** @throws CaissonError CHECKPOINT_UNAVAILABLE for memory at a level that cannot save it */
  snapshot(sandbox: string, options: SnapshotOptions, asking: Asking): Promise<SnapshotInfo>;
  /** A new sandbox whose workspace, and with `memory` whose processes, start as those of this one are now. */
  fork(sandbox: string, request: ForkRequest, asking: Asking): Promise<SandboxInfo>;
  /** Ends every process, gives the workspace the files of the snapshot, of whichever workspace it is, and starts the sandbox anew under the same id. */
  restore(sandbox: string, snapshot: string, asking: Asking): Promise<SandboxInfo>;
}

/** What a fork differs in; the rest is as in the sandbox that is forked. */
export type ForkRequest = Omit<CreateRequest, 'from'>;

export interface SnapshotOptions {
  readonly label?: string;
  /** Whether running processes are kept as well. Default false: files only. */
  readonly memory?: boolean;
}

export interface SnapshotInfo {
  readonly id: string;
  readonly label: string | null;
  readonly createdMs: number;
  readonly sizeBytes: number;
  /** Whether it holds running processes. */
  readonly memory: boolean;
}

/**
 * The nouns of the HTTP API, version 1. Generated from api/openapi.json by `./dev generate`: change the schemas instead.
 */

/** Codes of the errors with which the API answers; api/errors.md explains each. */
export type ErrorCode =
  | 'USAGE' | 'REQUEST_INVALID' | 'POLICY_INVALID' | 'EVIDENCE_ARCHIVE_INVALID' | 'LIMIT_EXCEEDS_POLICY' | 'LIMIT_BELOW_LEVEL'
  | 'LIMIT_NOT_ENFORCEABLE' | 'LEVEL_BELOW_POLICY' | 'LEVEL_UNAVAILABLE' | 'HOST_LACKS_CGROUP' | 'HOST_LACKS_USER_NAMESPACES'
  | 'HOST_LACKS_SECCOMP' | 'HOST_LACKS_LANDLOCK' | 'FLOOR_VIOLATED' | 'NETWORK_UNAVAILABLE' | 'EGRESS_EXCEEDS_POLICY' | 'NETWORK_ABSENT'
  | 'EGRESS_UNCERTIFIED' | 'APPROVAL_NOT_FOUND' | 'SECRET_UNKNOWN' | 'SECRET_UNAVAILABLE' | 'LEASE_NOT_FOUND' | 'LAUNCH_FAILED'
  | 'ATTESTATION_FAILED' | 'EVIDENCE_UNAVAILABLE' | 'EVIDENCE_ENTRY_INVALID' | 'EVIDENCE_DAMAGED' | 'EVIDENCE_KEY_ERASED'
  | 'EVIDENCE_KEY_MISSING' | 'DAEMON_UNREACHABLE' | 'DAEMON_START_FAILED' | 'DAEMON_RUNNING' | 'STATE_DIR_INVALID' | 'FRAME_INVALID'
  | 'SANDBOX_LOST' | 'COMMAND_NOT_FOUND' | 'COMMAND_NOT_EXECUTABLE' | 'CWD_INVALID' | 'SANDBOX_NAME_TAKEN' | 'SANDBOXES_EXCEED_POLICY'
  | 'LIMIT_EXCEEDS_SANDBOX' | 'WORKSPACE_SIZE' | 'AUDIT_MIRROR_REFUSED' | 'AUDIT_MIRROR_TAKEN' | 'WORKSPACE_EXISTS' | 'SNAPSHOT_DIFFERS'
  | 'IDEMPOTENCY_MISMATCH' | 'CANCELLED' | 'SANDBOX_NOT_FOUND' | 'EXEC_NOT_FOUND' | 'SANDBOX_STATE' | 'OUTPUT_NOT_KEPT' | 'OUTPUT_GONE'
  | 'PORT_REFUSED' | 'CHECKPOINT_UNAVAILABLE' | 'CHECKPOINT_FAILED' | 'CHECKPOINT_INVALID' | 'SNAPSHOT_NOT_FOUND' | 'WORKSPACE_NOT_FOUND'
  | 'WORKSPACES_UNAVAILABLE' | 'WORKSPACE_INVALID' | 'WORKSPACE_CONFLICT' | 'WORKSPACE_ATTACHED' | 'WORKSPACE_DAMAGED'
  | 'WORKSPACE_POOL_FULL' | 'WORKSPACE_FAILED' | 'WORKSPACE_IMPORT_FAILED' | 'FILE_NOT_FOUND' | 'FILE_EXISTS' | 'FILE_NOT_REGULAR'
  | 'FILE_OUTSIDE' | 'FILE_DENIED' | 'FILE_NO_SPACE' | 'FILE_CHANGED' | 'FILE_TOO_LARGE' | 'ARCHIVE_INVALID' | 'PATCH_REJECTED'
  | 'FILES_UNAVAILABLE' | 'ROUTE_NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'UPGRADE_REQUIRED' | 'REQUEST_TIMEOUT' | 'REQUEST_TOO_LARGE'
  | 'MEDIA_TYPE_UNSUPPORTED' | 'RANGE_INVALID' | 'HOST_REFUSED' | 'RATE_LIMITED' | 'TOKEN_INVALID' | 'TOKEN_NOT_FOUND' | 'SCOPE_MISSING'
  | 'DRAINING' | 'NOT_OFFERED' | 'TLS_REQUIRED' | 'TOKENS_DAMAGED' | 'IMAGE_NOT_FOUND' | 'IMAGE_INVALID' | 'IMAGE_TOO_LARGE'
  | 'IMAGE_UNAVAILABLE' | 'IMAGE_TAG_REFUSED' | 'IMAGE_TOOL_MISSING' | 'IMAGE_IN_USE' | 'WITNESS_INVALID' | 'TIMESTAMPS_INVALID'
  | 'INTERNAL';

export interface Allowed {
  readonly effect: 'allow';
  readonly rule: string;
  readonly reason: string;
  readonly level: Level;
  readonly limits: Limits;
  readonly notEnforced: readonly ('wallMs' | 'cpuMs' | 'memoryBytes' | 'pids' | 'cpuMillis' | 'outputBytes' | 'workspaceBytes' | 'tmpBytes' | 'inodes' | 'openFiles')[];
}

export interface CreateRequest {
  readonly level?: Level;
  readonly image?: string;
  readonly limits?: SomeLimits;
  readonly env?: Readonly<Record<string, string>>;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly workspace?: string;
  readonly from?: string;
  readonly memory?: boolean;
  readonly ttlMs?: number;
  readonly idleMs?: number;
  readonly keepAlive?: boolean;
  readonly terminals?: boolean;
  readonly network?: NetworkRequest;
  readonly secrets?: readonly string[];
  readonly auditMirror?: boolean;
}

export interface Denied {
  readonly effect: 'deny';
  readonly rule: string;
  readonly reason: string;
  readonly wouldAllow: string;
  readonly code: ErrorCode;
  readonly context: Readonly<Record<string, string | number>>;
}

export interface EgressRule {
  readonly name?: string;
  readonly effect?: 'allow' | 'deny';
  readonly host: string;
  readonly port?: number;
  readonly protocol?: 'tls' | 'http' | 'https' | 'tcp';
  readonly http?: {
    readonly methods?: readonly string[];
    readonly paths?: readonly string[];
    readonly bodyBytes?: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly mcp?: { readonly methods?: readonly string[]; readonly tools?: readonly string[] };
  };
  readonly perMinute?: number;
  readonly bytes?: number;
  readonly auditOnly?: boolean;
  readonly hold?: boolean;
}

export type Ending =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number }
  | { readonly kind: 'timed-out'; readonly limit: 'wall' | 'cpu'; readonly limitMs: number }
  | { readonly kind: 'out-of-memory'; readonly limitBytes: number }
  | { readonly kind: 'not-started'; readonly code: 'COMMAND_NOT_FOUND' | 'COMMAND_NOT_EXECUTABLE' | 'CWD_INVALID'; readonly detail: string }
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string }
  | { readonly kind: 'cancelled'; readonly detail: string }
  | { readonly kind: 'unknown'; readonly detail: string };

export interface ExecInfo {
  readonly id: string;
  readonly sandbox: string;
  readonly program: string;
  readonly state: 'running' | 'ended';
  readonly tty: boolean;
  /** milliseconds since 1970 UTC */
  readonly startedMs: number;
  readonly endedMs: number | null;
  readonly ending: Ending | null;
  readonly exit: number | 'unknown' | null;
  readonly reason: string | null;
  readonly output: { readonly stdout: OutputCount; readonly stderr: OutputCount } | null;
  readonly evidence: {
    readonly intent: { readonly index: number; readonly hash: string } | null;
    readonly outcome: { readonly index: number; readonly hash: string } | null;
  };
}

export interface ExecRequest {
  readonly argv: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: boolean;
  readonly tty?: TerminalSize;
  readonly timeoutMs?: number;
  readonly outputBytes?: number;
  readonly user?: 'agent';
}

export interface FileInfo {
  readonly path: string;
  readonly pathBase64?: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device';
  readonly sizeBytes: number;
  readonly mode: number;
  readonly mtimeMs: number;
  /** differs after every change of the file; in quotes it is the ETag of its content, for If-Match */
  readonly version: string;
  readonly target?: string;
}

export interface ForkRequest {
  readonly level?: Level;
  readonly image?: string;
  readonly limits?: SomeLimits;
  readonly env?: Readonly<Record<string, string>>;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly workspace?: string;
  readonly memory?: boolean;
  readonly ttlMs?: number;
  readonly idleMs?: number;
  readonly keepAlive?: boolean;
  readonly terminals?: boolean;
  readonly network?: NetworkRequest;
  readonly secrets?: readonly string[];
  readonly auditMirror?: boolean;
}

export interface HeldAttempt {
  readonly id: string;
  readonly sandbox: string;
  readonly what: 'connection' | 'request';
  readonly host: string;
  readonly port: number;
  readonly method: string | null;
  readonly path: string | null;
  readonly rules: readonly string[];
  readonly sinceMs: number;
  readonly expiresMs: number;
  readonly waiting: number;
}

export interface ImageImport {
  readonly name?: string;
  readonly source?: string;
  readonly build?: Readonly<Record<string, unknown>>;
}

export interface ImageInfo {
  readonly digest: string;
  readonly name: string | null;
  readonly names: readonly string[];
  readonly createdMs: number;
  readonly importedMs: number;
  readonly sizeBytes: number;
  readonly env: readonly string[];
  readonly source: string;
  readonly labels: Readonly<Record<string, string>>;
}

export type Level = 'container' | 'gvisor' | 'microvm';

export interface Limits {
  /** wall time in milliseconds */
  readonly wallMs: number;
  /** CPU time in milliseconds */
  readonly cpuMs: number;
  /** memory in bytes */
  readonly memoryBytes: number;
  /** processes and threads */
  readonly pids: number;
  /** thousandths of a core */
  readonly cpuMillis: number;
  /** bytes of stdout and of stderr */
  readonly outputBytes: number;
  /** bytes in /workspace */
  readonly workspaceBytes: number;
  /** bytes in /tmp */
  readonly tmpBytes: number;
  /** files in /workspace and in /tmp */
  readonly inodes: number;
  /** open descriptors per process */
  readonly openFiles: number;
}

export interface LiveUsage {
  readonly cpuMs: number | null;
  readonly memoryBytes: number | null;
  readonly memoryPeakBytes: number | null;
  readonly pids: number | null;
  readonly pidsPeak: number | null;
  readonly oomKills: number | null;
}

export interface NetworkInfo {
  readonly rules: readonly EgressRule[];
  readonly learn?: true;
  readonly secrets: readonly {
    readonly secret: string;
    readonly uses: number;
    /** milliseconds since 1970 UTC */
    readonly lastMs: number;
  }[];
  readonly connections: readonly {
    readonly host: string;
    readonly port: number;
    /** milliseconds since 1970 UTC */
    readonly startedMs: number;
    readonly bytesOut: number;
    readonly bytesIn: number;
  }[];
  readonly passed: { readonly connections: number; readonly bytesOut: number; readonly bytesIn: number };
  readonly refused: readonly {
    readonly what: 'name' | 'packet' | 'connection' | 'request' | 'answer';
    readonly to: string;
    readonly rule: string | null;
    readonly reason: string;
    readonly wouldAllow?: string;
    readonly count: number;
    /** milliseconds since 1970 UTC */
    readonly lastMs: number;
  }[];
  readonly refusedTotal: number;
}

export interface NetworkRequest {
  readonly rules: readonly EgressRule[];
  readonly learn?: true;
}

export interface NewSnapshot {
  readonly label?: string;
  readonly memory?: boolean;
}

export interface NewToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly expiresMs?: number;
}

export interface OutputCount {
  readonly written: number;
  readonly returned: number;
  readonly truncated: boolean;
  readonly sha256: string;
}

export interface OutputEvent {
  readonly stream: 'stdout' | 'stderr';
  readonly offset: number;
  readonly data: string;
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint: string;
}

export interface Renewal {
  readonly ttlMs?: number;
  readonly idleMs?: number;
  readonly keepAlive?: boolean;
}

export interface SandboxInfo {
  readonly id: string;
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: SandboxState;
  readonly reason: string;
  readonly level: { readonly requested: Level; readonly delivered: Level | null; readonly runtime: string | null; readonly kernel: string | null };
  readonly image: string;
  readonly limits: Limits;
  readonly notEnforced: readonly ('wallMs' | 'cpuMs' | 'memoryBytes' | 'pids' | 'cpuMillis' | 'outputBytes' | 'workspaceBytes' | 'tmpBytes' | 'inodes' | 'openFiles')[];
  readonly terminals: boolean;
  readonly auditMirror: boolean;
  readonly network: NetworkRequest | null;
  readonly secrets: readonly string[];
  readonly workspace: { readonly id: string; readonly name: string | null };
  /** milliseconds since 1970 UTC */
  readonly createdMs: number;
  readonly endedMs: number | null;
  /** milliseconds since 1970 UTC */
  readonly expiresMs: number;
  readonly idleMs: number | null;
  readonly running: readonly string[];
  readonly warm: boolean;
  readonly decision: Allowed | Denied;
  readonly evidence: {
    readonly intent: { readonly index: number; readonly hash: string } | null;
    readonly outcome: { readonly index: number; readonly hash: string } | null;
  };
  readonly timings: Readonly<Record<string, number>>;
}

export type SandboxState = 'creating' | 'running' | 'paused' | 'restoring' | 'closing' | 'closed' | 'lost';

export type Scope = 'sandboxes:read' | 'sandboxes:write' | 'exec' | 'files:read' | 'files:write' | 'workspaces' | 'images' | 'approvals' | 'admin';

export interface SecretInfo {
  readonly secret: string;
  readonly file: string | null;
  readonly uses: number;
  readonly lastMs: number | null;
  readonly expiresMs: number | null;
}

export interface SnapshotInfo {
  readonly id: string;
  readonly label: string | null;
  readonly createdMs: number;
  readonly sizeBytes: number;
  readonly memory: boolean;
}

export interface SomeLimits {
  /** wall time in milliseconds */
  readonly wallMs?: number;
  /** CPU time in milliseconds */
  readonly cpuMs?: number;
  /** memory in bytes */
  readonly memoryBytes?: number;
  /** processes and threads */
  readonly pids?: number;
  /** thousandths of a core */
  readonly cpuMillis?: number;
  /** bytes of stdout and of stderr */
  readonly outputBytes?: number;
  /** bytes in /workspace */
  readonly workspaceBytes?: number;
  /** bytes in /tmp */
  readonly tmpBytes?: number;
  /** files in /workspace and in /tmp */
  readonly inodes?: number;
  /** open descriptors per process */
  readonly openFiles?: number;
}

export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdMs: number;
  readonly expiresMs: number;
  readonly lastUsedMs: number | null;
}

export interface WorkspaceInfo {
  readonly id: string;
  readonly name: string | null;
  readonly sizeBytes: number;
  readonly inodes: number;
  readonly createdMs: number;
  readonly parent: string | null;
  readonly attachedTo: string | null;
  readonly usedBytes: number | null;
  readonly damaged: string | null;
}

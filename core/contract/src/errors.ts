/**
 * Every refusal and failure that Caisson can report: one class, one table.
 * `api/errors.md` is generated from the table; `test/errors` provokes each code.
 */

interface ErrorRow {
  /** HTTP status with which the API answers (RFC 9110 §15). */
  readonly status: number;
  /** What happened; `{name}` is replaced by the context value of that name. */
  readonly what: string;
  /** What the reader can do about it. */
  readonly fix: string;
}

const TABLE = {
  USAGE: { status: 400, what: '{detail}', fix: 'see ./caisson --help' },
  REQUEST_INVALID: { status: 400, what: 'the request is not valid: {detail}', fix: 'correct the named field; unknown fields are errors' },
  POLICY_INVALID: { status: 500, what: 'the policy file {path} is not valid: {detail}', fix: 'correct the named field; nothing runs under a policy that cannot be read' },
  EVIDENCE_ARCHIVE_INVALID: { status: 500, what: 'the evidence cannot be archived as {path} says: {detail}', fix: 'correct the named field, or remove archive.json to keep the evidence on this host alone' },
  LIMIT_EXCEEDS_POLICY: { status: 403, what: '{limit} of {asked} is more than the {allowed} that the policy allows', fix: 'ask for less, or raise limits.maximum.{limit} in the policy file' },
  LIMIT_BELOW_LEVEL: { status: 422, what: '{limit} of {asked} is less than the {needed} that level {level} itself needs', fix: 'ask for at least {needed}, or use another level' },
  LIMIT_NOT_ENFORCEABLE: { status: 422, what: '{limit} cannot be limited at level {level}: {why}', fix: 'leave {limit} out, or use another level' },
  LEVEL_BELOW_POLICY: { status: 403, what: 'level {asked} is below {minimum}, the minimum of the policy', fix: 'ask for --level {minimum} or higher, or lower levels.minimum in the policy file' },
  LEVEL_UNAVAILABLE: { status: 422, what: 'level {level} cannot be delivered on this host: {missing}', fix: '{how}' },
  HOST_LACKS_CGROUP: { status: 501, what: 'limits cannot be enforced: {missing}', fix: 'run Caisson as root, or on a cgroup v2 host with a delegated subtree' },
  HOST_LACKS_USER_NAMESPACES: { status: 501, what: 'user namespaces are not available: {missing}', fix: 'set user.max_user_namespaces above 0' },
  HOST_LACKS_SECCOMP: { status: 501, what: 'the kernel offers no seccomp filter mode', fix: 'boot a kernel with CONFIG_SECCOMP_FILTER' },
  HOST_LACKS_LANDLOCK: { status: 501, what: 'the kernel offers no Landlock', fix: 'boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in lsm=, or use --level gvisor' },
  FLOOR_VIOLATED: { status: 500, what: 'the launcher refused a spec below the isolation floor: {violations}', fix: 'this is a defect of Caisson: report it with the spec digest' },
  NETWORK_UNAVAILABLE: { status: 501, what: 'a sandbox cannot have a network here: {what}', fix: '{how}' },
  EGRESS_EXCEEDS_POLICY: { status: 403, what: '{host}:{port} may not be asked for: {why}', fix: 'ask for less, or change network in the policy file' },
  NETWORK_ABSENT: { status: 409, what: 'sandbox {sandbox} was made without a network, and gets none later', fix: 'make one with --allow HOST, or with network: {"rules": []} to allow hosts later' },
  EGRESS_UNCERTIFIED: { status: 409, what: 'requests to {host} cannot be read in sandbox {sandbox}: the certificates that it trusts are for {names}', fix: 'make a new sandbox with these rules; which names the gate may stand for is fixed when a sandbox is made' },
  APPROVAL_NOT_FOUND: { status: 404, what: 'nothing waits for a decision under the id {approval}', fix: 'list what waits: it may have been decided, be over, or have ended with its sandbox or its rule' },
  SECRET_UNKNOWN: { status: 403, what: 'no secret {secret} may be asked for', fix: 'name one that secrets in the policy file has, or add it there' },
  SECRET_UNAVAILABLE: { status: 503, what: 'secret {secret} cannot be had: {detail}', fix: 'mend what from of secrets.{secret} in the policy file refers to; nothing starts without a secret that it asked for' },
  LEASE_NOT_FOUND: { status: 404, what: 'sandbox {sandbox} has no lease of secret {secret}', fix: 'list the secrets of the sandbox; one that was revoked or is over is not there' },
  LAUNCH_FAILED: { status: 500, what: 'the sandbox did not start: {detail}', fix: 'run ./caisson doctor; the detail is what the runtime printed' },
  ATTESTATION_FAILED: { status: 500, what: 'the sandbox is weaker than its spec: {findings}', fix: 'run ./caisson doctor; nothing was run in it' },
  EVIDENCE_UNAVAILABLE: { status: 503, what: 'the evidence log cannot be written: {detail}', fix: 'free space or restore access to the evidence directory; nothing runs without a record' },
  EVIDENCE_ENTRY_INVALID: { status: 500, what: 'an entry of kind {kind} is not recorded: its body is none of that kind ({detail})', fix: 'this is a defect of Caisson: report it; nothing was written' },
  EVIDENCE_DAMAGED: { status: 503, what: 'the evidence log is damaged at entry {index}: {detail}', fix: 'keep the file as it is and restore a good copy; Caisson does not write after damage' },
  EVIDENCE_KEY_ERASED: { status: 410, what: 'what entry {index} seals opens for nobody any more: its key was erased at {when}', fix: 'the entry itself stays and verifies; nothing brings the key back' },
  EVIDENCE_KEY_MISSING: { status: 404, what: 'what entry {index} seals cannot be opened: key {key} is not in the ring, and was not erased', fix: 'ask where the ring of this log is; an auditor opens it with escrowed keys' },
  DAEMON_UNREACHABLE: { status: 503, what: 'nothing answers at {socket}', fix: 'start it with ./caisson up' },
  DAEMON_START_FAILED: { status: 500, what: 'Caisson did not start: {detail}', fix: 'read {log}' },
  DAEMON_RUNNING: { status: 409, what: 'Caisson is already up in {dir}', fix: 'use it, stop it with ./caisson down, or name another CAISSON_DIR' },
  STATE_DIR_INVALID: { status: 500, what: 'the state directory {dir} cannot be used: {detail}', fix: 'name another with CAISSON_DIR' },
  FRAME_INVALID: { status: 500, what: 'a process sent bytes that are not a valid frame: {detail}', fix: 'update both sides to the same version' },
  SANDBOX_LOST: { status: 502, what: 'the sandbox ended before its command did: {detail}', fix: 'look at the outcome in ./caisson audit tail; do not assume that the command did or did not finish' },
  COMMAND_NOT_FOUND: { status: 422, what: '{command}: no such program in the sandbox', fix: 'name a program that the image has; the image host has what is under /usr' },
  COMMAND_NOT_EXECUTABLE: { status: 422, what: '{command}: cannot be run ({detail})', fix: 'check its mode and format' },
  CWD_INVALID: { status: 422, what: 'the working directory {cwd} cannot be entered ({detail})', fix: 'name a directory that exists in the sandbox' },
  SANDBOX_NAME_TAKEN: { status: 409, what: 'the name {name} is that of {sandbox}', fix: 'use another name, or close that sandbox' },
  SANDBOXES_EXCEED_POLICY: { status: 429, what: '{count} sandboxes are live, as many as the policy allows', fix: 'close one, or raise sandboxes.maximum in the policy file' },
  LIMIT_EXCEEDS_SANDBOX: { status: 403, what: '{limit} of {asked} is more than the {allowed} that the sandbox was made with', fix: 'ask for less, or make a sandbox with more' },
  WORKSPACE_SIZE: { status: 409, what: 'the {limit} of {workspace} are {has}, and {asked} were asked for', fix: 'leave {limit} out, or start from another workspace' },
  AUDIT_MIRROR_REFUSED: { status: 403, what: 'the sandbox cannot have a mirror of its records: {detail}', fix: 'leave auditMirror (--audit-mirror) out, or have what is named: auditMirror set to true in the policy file and Caisson started anew, or a sandbox that stays (create, run --in)' },
  AUDIT_MIRROR_TAKEN: { status: 409, what: 'there is something called audit.jsonl in {place} already, where the mirror would lie: {detail}', fix: 'give it another name, or leave auditMirror (--audit-mirror) out; nothing of it was changed' },
  WORKSPACE_EXISTS: { status: 409, what: 'there is a workspace {workspace} already: it cannot start from a snapshot or an archive', fix: 'use another name; else leave the snapshot out, restore the workspace, or remove it first' },
  SNAPSHOT_DIFFERS: { status: 409, what: 'snapshot {snapshot} is of a workspace of {sizeBytes} bytes and {inodes} inodes, this one has {ownBytes} and {ownInodes}', fix: 'fork the snapshot into a new sandbox instead' },
  IDEMPOTENCY_MISMATCH: { status: 422, what: 'the idempotency key {key} was used for another request', fix: 'use a new key for a new request' },
  CANCELLED: { status: 409, what: 'the call was cancelled: {detail}', fix: 'call again if that was not meant' },
  SANDBOX_NOT_FOUND: { status: 404, what: 'no sandbox is called {sandbox}', fix: 'list the sandboxes; what ended long ago is forgotten' },
  EXEC_NOT_FOUND: { status: 404, what: 'sandbox {sandbox} has no exec {exec}', fix: 'list the execs of the sandbox' },
  SANDBOX_STATE: { status: 409, what: 'not possible while sandbox {sandbox} is {state}: {detail}', fix: 'look at the state of the sandbox first' },
  OUTPUT_NOT_KEPT: { status: 507, what: 'what commands write cannot be kept ({detail}), and none goes on unrecorded', fix: 'free space or inodes where CAISSON_DIR/journals is; nothing has to be started anew' },
  OUTPUT_GONE: { status: 410, what: 'the output of exec {exec} is no longer kept', fix: 'read output while its exec is among the last 64 of the sandbox' },
  PORT_REFUSED: { status: 502, what: 'nothing in the sandbox answers at port {port} ({detail})', fix: 'start a server on 127.0.0.1 in the sandbox first' },
  CHECKPOINT_UNAVAILABLE: { status: 422, what: 'memory cannot be saved at level {level}: {why}', fix: 'take a snapshot of the workspace instead, or use --level gvisor' },
  CHECKPOINT_FAILED: { status: 500, what: 'the memory of the sandbox was not saved: {detail}', fix: 'nothing of it was kept; the detail is what the runtime printed' },
  CHECKPOINT_INVALID: { status: 422, what: 'the checkpoint is refused: {detail}', fix: 'nothing of it was run; start a sandbox from a snapshot of its workspace' },
  SNAPSHOT_NOT_FOUND: { status: 404, what: 'no snapshot has the id {snapshot}', fix: 'list the snapshots' },
  WORKSPACE_NOT_FOUND: { status: 404, what: 'no workspace is called {workspace}', fix: 'list the workspaces' },
  WORKSPACES_UNAVAILABLE: { status: 501, what: 'workspaces cannot be held here: {detail}', fix: 'run Caisson as root with xfsprogs and e2fsprogs installed, on a kernel with XFS, ext4 and loop devices' },
  WORKSPACE_INVALID: { status: 422, what: 'not a workspace that can be made: {detail}', fix: 'correct the size, the number of files or the name' },
  WORKSPACE_CONFLICT: { status: 409, what: 'there is something else already: {detail}', fix: 'use another id or name, or remove what is there first' },
  WORKSPACE_ATTACHED: { status: 409, what: 'workspace {workspace} is in use by {sandbox}', fix: 'close that sandbox first; a workspace belongs to one at a time' },
  WORKSPACE_DAMAGED: { status: 500, what: 'workspace {workspace} cannot be used: {detail}', fix: 'restore the pool from a backup, or remove the workspace; it is never made anew in silence' },
  WORKSPACE_POOL_FULL: { status: 507, what: 'there is too little room for workspaces: {freeMiB} MiB are free', fix: 'remove workspaces and snapshots, or free space on the file system of CAISSON_DIR; {reserveMiB} MiB are kept free' },
  WORKSPACE_FAILED: { status: 500, what: 'workspace {workspace}: {detail}', fix: 'look at the log of the kernel; nothing was changed' },
  WORKSPACE_IMPORT_FAILED: { status: 422, what: 'the archive was not taken in: {detail}', fix: 'check that it is a tar archive and fits into the size and number of files; nothing is kept of it' },
  FILE_NOT_FOUND: { status: 404, what: '{path}: there is no such file or directory', fix: 'list the directory above' },
  FILE_EXISTS: { status: 409, what: '{path}: {detail}', fix: 'use another name, or remove what is there first' },
  FILE_NOT_REGULAR: { status: 422, what: '{path}: not possible, {detail}', fix: 'name a regular file, or the file that the link leads to' },
  FILE_OUTSIDE: { status: 403, what: '{path} leads outside /workspace', fix: 'use exec to look at other files of the sandbox' },
  FILE_DENIED: { status: 403, what: '{path}: not permitted, {detail}', fix: 'look at the mode and owner of the file and of the directories above' },
  FILE_NO_SPACE: { status: 507, what: '{path}: the workspace is full ({detail})', fix: 'remove what is not needed, or create the sandbox with a larger limit' },
  FILE_CHANGED: { status: 412, what: '{path}: it has changed ({detail})', fix: 'read it again and decide anew' },
  FILE_TOO_LARGE: { status: 413, what: '{path}: {detail}', fix: 'work on a smaller part, or use exec' },
  ARCHIVE_INVALID: { status: 422, what: 'the archive is refused: {detail}', fix: 'make it again with ordinary relative names, files, directories and links' },
  PATCH_REJECTED: { status: 422, what: 'the patch does not apply: {detail}', fix: 'make the diff again from the files as they are now; none of them was changed' },
  FILES_UNAVAILABLE: { status: 503, what: 'the files of the sandbox cannot be reached: {detail}', fix: 'ask again; when that does not help look at ./caisson doctor' },
  ROUTE_NOT_FOUND: { status: 404, what: 'nothing is at {method} {path}', fix: 'see GET /v1/openapi.json' },
  METHOD_NOT_ALLOWED: { status: 405, what: '{path} does not take {method}', fix: 'use {allowed}' },
  UPGRADE_REQUIRED: { status: 426, what: '{path} is a connection, not a document', fix: 'ask for Upgrade: {protocol}' },
  REQUEST_TIMEOUT: { status: 408, what: 'the request did not arrive within {limitMs} ms', fix: 'send it again; the connection is closed' },
  REQUEST_TOO_LARGE: { status: 413, what: 'the request is larger than the {limitBytes} bytes that are read of it', fix: 'send less, or use a route that takes a stream' },
  MEDIA_TYPE_UNSUPPORTED: { status: 415, what: 'a body of type {type} is not read here', fix: 'send {wanted}' },
  RANGE_INVALID: { status: 416, what: 'the range {range} is not within the {sizeBytes} bytes of the file', fix: 'ask for one range, as bytes=first-last' },
  HOST_REFUSED: { status: 421, what: 'the host {host} is not one that this server answers for', fix: 'use an address, localhost or a name from CAISSON_API_HOSTS' },
  RATE_LIMITED: { status: 429, what: 'too many requests: {detail}', fix: 'wait as long as Retry-After says' },
  TOKEN_INVALID: { status: 401, what: 'no valid token came with the request', fix: 'send Authorization: Bearer with a token that has neither expired nor been revoked' },
  TOKEN_NOT_FOUND: { status: 404, what: 'no token has the id {token}', fix: 'list the tokens' },
  SCOPE_MISSING: { status: 403, what: 'this caller may not do that: {detail}', fix: 'use a token with that scope, or the socket of the operator' },
  DRAINING: { status: 503, what: 'Caisson is stopping and takes nothing new', fix: 'ask again when it is up' },
  NOT_OFFERED: { status: 501, what: '{what} is not offered here: {why}', fix: 'see GET /v1/status and ./caisson doctor' },
  TLS_REQUIRED: { status: 500, what: 'the API does not listen on {host} without TLS: tokens would cross the network in the clear', fix: 'set CAISSON_API_TLS_CERT and CAISSON_API_TLS_KEY, or listen on 127.0.0.1' },
  TOKENS_DAMAGED: { status: 500, what: 'the token file {path} cannot be used: {detail}', fix: 'restore it, or remove it and make new tokens' },
  IMAGE_NOT_FOUND: { status: 404, what: 'there is no image {image} on this host', fix: 'bring it in by digest, or name one of ./caisson image ls' },
  IMAGE_INVALID: { status: 422, what: 'the image is refused: {detail}', fix: 'nothing of it was kept; get it again from where it was made' },
  IMAGE_TOO_LARGE: { status: 413, what: 'the image is refused: it unpacks to {detail}', fix: 'nothing of it was kept; use a smaller image' },
  IMAGE_UNAVAILABLE: { status: 502, what: 'the image cannot be had: {detail}', fix: 'the detail is what the tool or the archive said; nothing was kept' },
  IMAGE_TAG_REFUSED: { status: 422, what: '{reference} does not name an image by digest, and a tag can change what it means', fix: 'name it by digest alone: {suggestion}' },
  IMAGE_TOOL_MISSING: { status: 501, what: '{tool} is not installed', fix: 'as root: apt-get install --no-install-recommends {package}' },
  IMAGE_IN_USE: { status: 409, what: 'the image {image} is in use by {count} sandboxes', fix: 'close them first' },
  WITNESS_INVALID: { status: 500, what: 'the witness cannot be used: {detail}', fix: 'correct what is named; a witness signs nothing when its key, its configuration or its record is in doubt' },
  TIMESTAMPS_INVALID: { status: 500, what: 'the heads of the evidence cannot be time-stamped as {path} says: {detail}', fix: 'correct the named field, or remove timestamps.json to have no head time-stamped' },
  INTERNAL: { status: 500, what: 'internal error: {detail}', fix: 'this is a defect of Caisson: report it' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof TABLE;
export type ErrorContext = Readonly<Record<string, string | number>>;

export const ERROR_CODES = Object.keys(TABLE) as readonly ErrorCode[];

export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(TABLE, value);
}

export function errorRow(code: ErrorCode): ErrorRow {
  return TABLE[code];
}

/** Escapes control and direction characters, so that text from a sandbox cannot drive a terminal or reorder a line. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function fill(template: string, context: ErrorContext): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in context ? printable(String(context[name])) : whole));
}

export function problem(code: ErrorCode, context: ErrorContext = {}): Problem {
  return { code, message: fill(TABLE[code].what, context), hint: fill(TABLE[code].fix, context) };
}

/** A broken promise. Expected refusals are values; this is thrown where a caller has nothing to decide. */
export class CaissonError extends Error {
  override readonly name = 'CaissonError';
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, context: ErrorContext = {}, options?: { readonly cause?: unknown }) {
    const { message, hint } = problem(code, context);
    super(message, options);
    this.code = code;
    this.hint = hint;
  }

  static from(value: Problem): CaissonError {
    const error = new CaissonError(value.code);
    return Object.assign(error, { message: value.message, hint: value.hint });
  }
}

/** The problem inside any thrown value; anything that is not ours is INTERNAL. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof CaissonError) return { code: thrown.code, message: thrown.message, hint: thrown.hint };
  return problem('INTERNAL', { detail: thrown instanceof Error ? thrown.message : String(thrown) });
}

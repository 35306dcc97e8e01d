/**
 * Every refusal and failure that Caisson can report: one class, one table.
 * `api/errors.md` is generated from the table; `test/errors` provokes each code.
 */

interface ErrorRow {
  /** What happened; `{name}` is replaced by the context value of that name. */
  readonly what: string;
  /** What the reader can do about it. */
  readonly fix: string;
}

const TABLE = {
  USAGE: { what: '{detail}', fix: 'see ./caisson --help' },
  REQUEST_INVALID: { what: 'the request is not valid: {detail}', fix: 'correct the named field; unknown fields are errors' },
  POLICY_INVALID: { what: 'the policy file {path} is not valid: {detail}', fix: 'correct the named field; nothing runs under a policy that cannot be read' },
  LIMIT_EXCEEDS_POLICY: { what: '{limit} of {asked} is more than the {allowed} that the policy allows', fix: 'ask for less, or raise limits.maximum.{limit} in the policy file' },
  LIMIT_BELOW_LEVEL: { what: '{limit} of {asked} is less than the {needed} that level {level} itself needs', fix: 'ask for at least {needed}, or use another level' },
  LIMIT_NOT_ENFORCEABLE: { what: '{limit} cannot be limited at level {level}: {why}', fix: 'leave {limit} out, or use another level' },
  LEVEL_BELOW_POLICY: { what: 'level {asked} is below {minimum}, the minimum of the policy', fix: 'ask for --level {minimum} or higher, or lower levels.minimum in the policy file' },
  LEVEL_UNAVAILABLE: { what: 'level {level} cannot be delivered on this host: {missing}', fix: '{how}' },
  HOST_LACKS_CGROUP: { what: 'limits cannot be enforced: {missing}', fix: 'run Caisson as root, or on a cgroup v2 host with a delegated subtree' },
  HOST_LACKS_USER_NAMESPACES: { what: 'user namespaces are not available: {missing}', fix: 'set user.max_user_namespaces above 0' },
  HOST_LACKS_SECCOMP: { what: 'the kernel offers no seccomp filter mode', fix: 'boot a kernel with CONFIG_SECCOMP_FILTER' },
  HOST_LACKS_LANDLOCK: { what: 'the kernel offers no Landlock', fix: 'boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in lsm=, or use --level gvisor' },
  FLOOR_VIOLATED: { what: 'the launcher refused a spec below the isolation floor: {violations}', fix: 'this is a defect of Caisson: report it with the spec digest' },
  LAUNCH_FAILED: { what: 'the sandbox did not start: {detail}', fix: 'run ./caisson doctor; the detail is what the runtime printed' },
  ATTESTATION_FAILED: { what: 'the sandbox is weaker than its spec: {findings}', fix: 'run ./caisson doctor; nothing was run in it' },
  EVIDENCE_UNAVAILABLE: { what: 'the evidence log cannot be written: {detail}', fix: 'free space or restore access to the evidence directory; nothing runs without a record' },
  EVIDENCE_DAMAGED: { what: 'the evidence log is damaged at entry {index}: {detail}', fix: 'keep the file as it is and restore a good copy; Caisson does not write after damage' },
  DAEMON_UNREACHABLE: { what: 'nothing answers at {socket}', fix: 'start it with ./caisson up' },
  DAEMON_START_FAILED: { what: 'Caisson did not start: {detail}', fix: 'read {log}' },
  DAEMON_RUNNING: { what: 'Caisson is already up in {dir}', fix: 'use it, stop it with ./caisson down, or name another CAISSON_DIR' },
  STATE_DIR_INVALID: { what: 'the state directory {dir} cannot be used: {detail}', fix: 'name another with CAISSON_DIR' },
  FRAME_INVALID: { what: 'a process sent bytes that are not a valid frame: {detail}', fix: 'update both sides to the same version' },
  SANDBOX_LOST: { what: 'the sandbox ended before its command did: {detail}', fix: 'look at the outcome in ./caisson audit tail; do not assume that the command did or did not finish' },
  COMMAND_NOT_FOUND: { what: '{command}: no such program in the sandbox', fix: 'name a program that the image has; the image host has what is under /usr' },
  COMMAND_NOT_EXECUTABLE: { what: '{command}: cannot be run ({detail})', fix: 'check its mode and format' },
  CWD_INVALID: { what: 'the working directory {cwd} cannot be entered ({detail})', fix: 'name a directory that exists in the sandbox' },
  CANCELLED: { what: 'the call was cancelled: {detail}', fix: 'call again if that was not meant' },
  INTERNAL: { what: 'internal error: {detail}', fix: 'this is a defect of Caisson: report it' },
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

import type { ErrorCode } from './generated.ts';
import type { ExecResult } from './result.ts';

/** Codes that the API does not know, because they are about reaching it. */
export type ClientCode =
  /** The connection broke when the request may have arrived already: whether it took effect is not known. */
  | 'CONNECTION_LOST'
  /** What answered is not the API of Caisson, or not one that this SDK can read. */
  | 'ANSWER_INVALID'
  /** A command did not end with 0, and `check` was asked for. */
  | 'EXEC_FAILED'
  /** A wait was aborted, or ended by what the caller's own code threw, and the command that it was for could not be killed. */
  | 'KILL_NOT_DELIVERED'
  /** An archive of a sandbox would write outside the folder that it was downloaded to. */
  | 'ARCHIVE_REFUSED'
  /** The interpreter of a Python session has ended. */
  | 'PYTHON_ENDED'
  /** The options cannot be used. */
  | 'OPTIONS_INVALID';

export type AnyCode = ErrorCode | ClientCode;

interface Details {
  readonly code: AnyCode;
  readonly message: string;
  readonly hint: string;
  /** HTTP status of the answer. */
  readonly status?: number;
  readonly requestId?: string;
  readonly cause?: unknown;
}

/** Every refusal and failure that the SDK reports, but an abort: that throws the reason of its signal. */
export class CaissonError extends Error {
  override readonly name: string = 'CaissonError';
  readonly code: AnyCode;
  /** What can be done about it. */
  readonly hint: string;
  /** HTTP status with which the API answered; null when it did not. */
  readonly status: number | null;
  readonly requestId: string | null;

  constructor({ code, message, hint, status, requestId, cause }: Details) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
    this.status = status ?? null;
    this.requestId = requestId ?? null;
  }
}

/** A command that did not end with 0, thrown where `check` was asked for. */
export class ExecError extends CaissonError {
  override readonly name = 'ExecError';
  readonly result: ExecResult;

  constructor(argv: readonly string[], result: ExecResult) {
    const last = result.stderr.trimEnd().split('\n').at(-1) ?? '';
    super({ code: 'EXEC_FAILED', message: `${argv[0] ?? ''}: ${result.reason}${last === '' ? '' : `: ${last}`}`, hint: 'its stdout, stderr and ending are in `result`' });
    this.result = result;
  }
}

export function invalidOption(message: string): CaissonError {
  return new CaissonError({ code: 'OPTIONS_INVALID', message, hint: 'correct the named option' });
}

export function invalidAnswer(message: string, cause?: unknown): CaissonError {
  return new CaissonError({ code: 'ANSWER_INVALID', message, hint: 'see that the address is one of Caisson, and use an SDK of the same version', cause });
}

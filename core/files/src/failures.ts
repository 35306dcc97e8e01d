import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { CaissonError, type ErrorCode } from '@caisson/contract';
import { violation } from './frames.ts';

const { errno } = constants;
/** Values of Linux that Node has no name for in every build. */
const ESTALE = 116;
const EDQUOT = 122;

const CODES: ReadonlyMap<number, readonly [code: ErrorCode, detail?: string]> = new Map<number, readonly [ErrorCode, string?]>([
  [errno.ENOENT, ['FILE_NOT_FOUND']],
  [errno.ENOTDIR, ['FILE_NOT_FOUND']],
  [errno.EEXIST, ['FILE_EXISTS', 'it is there already']],
  [errno.ENOTEMPTY, ['FILE_EXISTS', 'the directory is not empty']],
  [errno.EISDIR, ['FILE_NOT_REGULAR', 'it is a directory']],
  [errno.ELOOP, ['FILE_NOT_REGULAR', 'a symbolic link is in the way']],
  [errno.ENXIO, ['FILE_NOT_REGULAR', 'it is a FIFO, socket or device']],
  [errno.EINVAL, ['REQUEST_INVALID', 'the file system does not take that']],
  [errno.ENOSPC, ['FILE_NO_SPACE']],
  [EDQUOT, ['FILE_NO_SPACE']],
  [ESTALE, ['FILE_CHANGED']],
  [errno.EAGAIN, ['FILE_CHANGED']],
  [errno.EFBIG, ['FILE_TOO_LARGE', 'larger than the file system takes']],
  [errno.ENAMETOOLONG, ['FILE_TOO_LARGE', 'the tree is too deep to be named']],
  [errno.ETIME, ['FILE_TOO_LARGE', 'the time for the search is over, and there may be more']],
  [errno.EBADMSG, ['REQUEST_INVALID', 'content is no regular expression, or one that would take too long']],
  [errno.EACCES, ['FILE_DENIED', 'its permissions forbid it']],
  [errno.EPERM, ['FILE_DENIED', 'its permissions forbid it']],
  [errno.EROFS, ['FILE_DENIED', 'it is read-only']],
  [errno.EBUSY, ['FILE_DENIED', 'it is in use, or the workspace itself']],
  [errno.EXDEV, ['FILE_DENIED', 'it is on another file system']],
  [errno.EMFILE, ['FILES_UNAVAILABLE', 'too much is under way at a time']],
  [errno.ECANCELED, ['CANCELLED', 'the request was cancelled']],
]);

function nameOf(value: number): string {
  return getSystemErrorMap().get(-value)?.[0] ?? `error ${value}`;
}

/** `what` of a failure that is about the second path of its request. */
const ABOUT_OTHER = 1;

/** What a refusal of the helper means to whoever asked for the paths. */
export function failureOf({ error, what }: HelperFailure, asked: { readonly path: string; readonly other: string }): CaissonError {
  const path = what === ABOUT_OTHER ? asked.other : asked.path;
  const [code, detail] = CODES.get(error) ?? (['INTERNAL'] as const);
  const said = detail ?? nameOf(error);
  return new CaissonError(code, { path, detail: code === 'FILE_EXISTS' || code.startsWith('FILE_') ? said : `${path}: ${said}` });
}

const STEPS = ['', 'a mount namespace', 'the workspace', 'a root of its own', 'limits', 'the identity of the sandbox', 'the system call filter'];

/** The helper could not be confined, and has served nothing. */
export function confinementFailure(payload: Buffer): CaissonError {
  const { error, what } = decodeFailure(payload);
  return unavailable(`the helper could not have ${STEPS[what] ?? `step ${what}`}: ${nameOf(error)}`);
}

export function unavailable(detail: string): CaissonError {
  return new CaissonError('FILES_UNAVAILABLE', { detail });
}

interface HelperFailure {
  readonly error: number;
  readonly what: number;
}

export function decodeFailure(payload: Buffer): HelperFailure {
  const error = payload.length === 8 ? payload.readUInt32LE(0) : 0;
  if (error === 0 || error > 4095) throw violation('a failure of no kind');
  return { error, what: payload.readUInt32LE(4) };
}

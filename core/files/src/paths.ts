import { isUtf8 } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { PATH_BYTES_MAX } from './frames.ts';

/** A path in the sandbox: absolute below /workspace, or relative to it. Bytes where a name is not valid UTF-8. */
export type FilePath = string | Buffer;

const ROOT = '/workspace';
const NAME_BYTES_MAX = 255;

/**
 * The bytes that the helper is asked for: absolute, without `.`, `..` and empty names. `..` is taken back before any
 * link is looked at, as in a URL.
 * @throws CaissonError FILE_OUTSIDE, REQUEST_INVALID
 */
export function absolutePath(path: FilePath): Buffer {
  // One byte per character, so that names which are not UTF-8 pass through string functions unchanged.
  const text = Buffer.isBuffer(path) ? path.toString('latin1') : encodeText(path);
  if (text.includes('\0')) throw new CaissonError('REQUEST_INVALID', { detail: 'path: holds a NUL byte' });
  const absolute = posix.resolve(ROOT, text);
  if (absolute !== ROOT && !absolute.startsWith(`${ROOT}/`)) throw new CaissonError('FILE_OUTSIDE', { path: shown(path) });
  const isTooLong = absolute.length > PATH_BYTES_MAX || absolute.split('/').some((name) => name.length > NAME_BYTES_MAX);
  if (isTooLong) throw new CaissonError('REQUEST_INVALID', { detail: `path: longer than ${PATH_BYTES_MAX} bytes, or a name in it than ${NAME_BYTES_MAX}` });
  return Buffer.from(absolute, 'latin1');
}

function encodeText(path: string): string {
  if (!path.isWellFormed()) throw new CaissonError('REQUEST_INVALID', { detail: 'path: is not Unicode' });
  return Buffer.from(path, 'utf8').toString('latin1');
}

/** For messages: what is not valid UTF-8 shows as U+FFFD. */
export function shown(path: FilePath): string {
  return Buffer.isBuffer(path) ? path.toString('utf8') : path;
}

export function joined(folder: Buffer, below: Buffer): Buffer {
  return below.length === 0 ? folder : Buffer.concat([folder, Buffer.from('/'), below]);
}

/** A path as it is told: text, and the bytes as well when the text alone would not name the file. */
export function told(path: Buffer): { readonly path: string; readonly pathBase64?: string } {
  const text = path.toString('utf8');
  return isUtf8(path) ? { path: text } : { path: text, pathBase64: path.toString('base64') };
}

/** A new name in the same directory, of the kind that the helper gives to files that are being written. */
export function temporaryBeside(path: Buffer): Buffer {
  return Buffer.concat([path.subarray(0, path.lastIndexOf('/') + 1), Buffer.from(`.caisson-${randomBytes(8).toString('hex')}`)]);
}

import { violation } from './frames.ts';
import { joined, told } from './paths.ts';

export type FileType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device';

export interface FileInfo {
  /** Absolute, in the sandbox. Bytes that are not UTF-8 show as U+FFFD. */
  readonly path: string;
  /** The bytes of the path, only where `path` does not give them. */
  readonly pathBase64?: string;
  readonly type: FileType;
  readonly sizeBytes: number;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly mtimeMs: number;
  /** Differs after every change of content or metadata, also after one that keeps the size and puts the times back. */
  readonly version: string;
  /** What a symbolic link says, as it is. */
  readonly target?: string;
}

/** What the helper says of one file. `version` changes whenever content, metadata or identity of the file do. */
export interface FileRecord {
  readonly info: FileInfo;
  readonly pathBytes: Buffer;
  readonly target: Buffer;
  readonly version: Buffer;
}

const FIXED_BYTES = 52;
const VERSION_AT = 8;
const VERSION_BYTES = 32;
const NANOSECONDS = 1_000_000n;
const TYPES: Readonly<Record<number, FileType>> = {
  0o100000: 'file', 0o040000: 'directory', 0o120000: 'symlink', 0o010000: 'fifo', 0o140000: 'socket', 0o020000: 'device', 0o060000: 'device',
};

/** Records one after the other; the paths in them are below `folder`. @throws CaissonError FRAME_INVALID */
export function* decodeRecords(payload: Buffer, folder: Buffer): Generator<FileRecord> {
  for (let at = 0; at < payload.length; ) {
    if (payload.length - at < FIXED_BYTES) throw violation('a record that is cut off');
    const length = payload.readUInt32LE(at);
    if (length < FIXED_BYTES || length > payload.length - at) throw violation('a record of the wrong size');
    yield decodeRecord(payload.subarray(at, at + length), folder);
    at += length;
  }
}

/** @throws CaissonError FRAME_INVALID */
export function decodeOne(payload: Buffer, path: Buffer): FileRecord {
  const [record, ...more] = decodeRecords(payload, path);
  if (record === undefined || more.length > 0) throw violation('not one record');
  return record;
}

function decodeRecord(bytes: Buffer, folder: Buffer): FileRecord {
  const mode = bytes.readUInt32LE(4);
  const type = TYPES[mode & 0o170000];
  const size = Number(bytes.readBigUInt64LE(VERSION_AT));
  const pathLength = bytes.readUInt32LE(44);
  if (type === undefined || !Number.isSafeInteger(size)) throw violation('a record of no kind of file');
  if (FIXED_BYTES + pathLength + bytes.readUInt32LE(48) !== bytes.length) throw violation('a record whose lengths disagree');
  const pathBytes = Buffer.from(joined(folder, bytes.subarray(FIXED_BYTES, FIXED_BYTES + pathLength)));
  const target = Buffer.from(bytes.subarray(FIXED_BYTES + pathLength));
  const version = Buffer.from(bytes.subarray(VERSION_AT, VERSION_AT + VERSION_BYTES));
  const info: FileInfo = {
    ...told(pathBytes),
    type,
    sizeBytes: size,
    mode: mode & 0o7777,
    mtimeMs: Number(bytes.readBigInt64LE(VERSION_AT + 8) / NANOSECONDS),
    version: version.toString('base64url'),
    ...(type === 'symlink' ? { target: target.toString('utf8') } : {}),
  };
  return { info, pathBytes, target, version };
}

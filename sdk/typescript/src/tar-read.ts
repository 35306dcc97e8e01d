import { invalidAnswer } from './errors.ts';
import { byteSource, type ByteSource } from './tar-bytes.ts';

/** One member of an archive. Names are bytes, one per character (latin1): a file name need not be UTF-8. */
export interface TarEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly mode: number;
  readonly mtimeMs: number;
  readonly sizeBytes: number;
  /** What a link says. */
  readonly target: string;
  /** Once; what is left of it is passed over when the next member is asked for. */
  readonly content: AsyncGenerator<Buffer, void>;
}

const BLOCK = 512;
const EXTENDED_MOST_BYTES = 1024 * 1024;
const NAME_MOST_BYTES = 4096;
const KINDS: Readonly<Record<string, TarEntry['kind']>> = { '0': 'file', '\0': 'file', '7': 'file', '5': 'folder', '2': 'link' };

type Header = Omit<TarEntry, 'content' | 'kind'> & { readonly type: string };

/**
 * The members of a tar archive (pax(1); long names of GNU tar) from untrusted bytes, never holding more than a chunk and
 * an extended header.
 *
 * @throws CaissonError ANSWER_INVALID
 */
export async function* tarEntries(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry, void> {
  const bytes = byteSource(chunks);
  let extended: ReadonlyMap<string, string> = new Map();
  for (;;) {
    const block = await bytes.take(BLOCK);
    if (block === null) throw invalidAnswer('an archive without an end');
    if (block.every((byte) => byte === 0)) return;
    const header = parseHeader(block);
    if ('xgLK'.includes(header.type)) {
      extended = extend(extended, header.type, await extendedBody(bytes, header.sizeBytes));
      continue;
    }
    const entry = entryOf(merged(header, extended), bytes);
    extended = new Map();
    const left = (BLOCK - (entry.sizeBytes % BLOCK)) % BLOCK;
    yield entry;
    for await (const rest of entry.content) void rest;
    if (left > 0 && (await bytes.take(left)) === null) throw invalidAnswer('an archive that is cut off');
  }
}

function entryOf({ type, ...header }: Header, bytes: ByteSource): TarEntry {
  const known = KINDS[type] ?? 'other';
  const kind = known === 'file' && header.name.endsWith('/') ? 'folder' : known;
  const sizeBytes = kind === 'file' ? header.sizeBytes : 0;
  return { ...header, kind, sizeBytes, content: bytes.pieces(sizeBytes) };
}

async function extendedBody(bytes: ByteSource, sizeBytes: number): Promise<Buffer> {
  if (sizeBytes > EXTENDED_MOST_BYTES) throw invalidAnswer('an archive with an extended header that is too long');
  const body = await bytes.take(Math.ceil(sizeBytes / BLOCK) * BLOCK);
  if (body === null) throw invalidAnswer('an archive that is cut off');
  return body.subarray(0, sizeBytes);
}

function parseHeader(block: Buffer): Header {
  const stated = octal(block, 148, 8);
  const sum = block.reduce((all, byte, index) => all + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (stated !== sum) throw invalidAnswer('an archive with a header whose checksum is wrong');
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? string(block, 345, 155) : '';
  const name = string(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: block.toString('latin1', 156, 157),
    mode: octal(block, 100, 8) & 0o7777,
    mtimeMs: octal(block, 136, 12) * 1000,
    sizeBytes: octal(block, 124, 12),
    target: string(block, 157, 100),
  };
}

function string(block: Buffer, from: number, length: number): string {
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? field.length : end);
}

/** A number in octal digits, or in base 256 where the first bit is set (GNU tar). */
function octal(block: Buffer, from: number, length: number): number {
  const first = block[from] ?? 0;
  const field = block.subarray(from + 1, from + length);
  if (first >= 0x80) return safe(field.reduce((all, byte) => all * 256 + byte, first & 0x7f));
  const text = string(block, from, length).trim();
  if (!/^[0-7]*$/.test(text)) throw invalidAnswer('an archive with a header that is no number');
  return text === '' ? 0 : safe(Number.parseInt(text, 8));
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw invalidAnswer('an archive with a number out of range');
  return value;
}

function extend(before: ReadonlyMap<string, string>, type: string, body: Buffer): ReadonlyMap<string, string> {
  if (type === 'g') return before;
  if (type === 'x') return new Map([...before, ...paxRecords(body)]);
  return new Map([...before, [type === 'L' ? 'path' : 'linkpath', string(body, 0, body.length)]]);
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record. */
function paxRecords(body: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space === -1 ? '' : body.toString('latin1', at, space);
    const end = at + Number(digits);
    const record = /^[1-9]\d{0,7}$/.test(digits) && end <= body.length && body[end - 1] === 0x0a ? body.toString('latin1', space + 1, end - 1) : '';
    const equals = record.indexOf('=');
    if (equals < 1 || record.startsWith('GNU.sparse')) throw invalidAnswer('an archive with an extended header that is malformed');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at = end;
  }
  return records;
}

function merged(header: Header, extended: ReadonlyMap<string, string>): Header {
  const size = extended.get('size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw invalidAnswer('an archive with a size that is no number');
  const name = extended.get('path') ?? header.name;
  const target = extended.get('linkpath') ?? header.target;
  if (name.length > NAME_MOST_BYTES || target.length > NAME_MOST_BYTES || `${name}${target}`.includes('\0')) throw invalidAnswer('an archive with a name that is none');
  return { ...header, name, target, sizeBytes: size === undefined ? header.sizeBytes : Number(size) };
}

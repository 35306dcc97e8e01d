import { CaissonError } from '@caisson/contract';

/** One member of a tar archive. Names are bytes, held one byte per character (latin1): a file name need not be UTF-8. */
export interface TarEntry {
  readonly name: string;
  readonly kind: 'file' | 'hard-link' | 'symbolic-link' | 'device' | 'folder' | 'fifo';
  readonly mode: number;
  readonly mtimeS: number;
  readonly sizeBytes: number;
  /** Target of a link; empty otherwise. */
  readonly target: string;
  /** The content, once; what is left of it is passed over when the next entry is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

const BLOCK = 512;
/** Longest extended header (pax, or a long name of GNU) that is read into memory. */
const EXTENDED_BYTES_MAX = 1_048_576;
/** Extended headers before one entry. Writers need three: long name, long target and pax. */
const EXTENDED_MOST = 8;
/** What is read of an extended header; all else in it is about owners, times and comments. */
const EXTENDED_KEYS: ReadonlySet<string> = new Set(['path', 'linkpath', 'size']);
/** PATH_MAX of Linux. */
const PATH_BYTES_MAX = 4_096;
const KINDS: Readonly<Record<string, TarEntry['kind']>> = {
  '0': 'file', '\0': 'file', '7': 'file', '1': 'hard-link', '2': 'symbolic-link', '3': 'device', '4': 'device', '5': 'folder', '6': 'fifo',
};

interface Header {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly mtimeS: number;
  readonly sizeBytes: number;
  readonly target: string;
}

/**
 * Reads a tar archive (pax(1), "ustar Interchange Format" and "pax Interchange Format"; GNU tar's long names) from
 * untrusted bytes, never holding more of it than one chunk and one extended header. Sparse files and kinds that are
 * not in that list are refused: a sparse file is larger than what is in the archive.
 * @throws CaissonError ARCHIVE_INVALID
 */
export async function* tarEntries(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarEntry, void, undefined> {
  const bytes = new Bytes(chunks);
  let extended: ReadonlyMap<string, string> = new Map();
  let headers = 0;
  for (;;) {
    const block = await bytes.take(BLOCK);
    // Two blocks of zeros end an archive; what comes after the first is not looked at, because it could only be padding.
    if (block === null || block.every((byte) => byte === 0)) return bytes.drain();
    const header = parseHeader(block);
    if ('xgLK'.includes(header.type)) {
      if (++headers > EXTENDED_MOST) throw invalid(`more than ${EXTENDED_MOST} extended headers before one entry`);
      const body = await bytes.take(padded(bounded(header.sizeBytes, EXTENDED_BYTES_MAX, 'an extended header')));
      if (body === null) throw invalid('the archive ends inside an extended header');
      extended = extend(extended, header.type, body.subarray(0, header.sizeBytes));
      continue;
    }
    const { entry, leftBytes } = open(merge(header, extended), bytes);
    extended = new Map();
    headers = 0;
    yield entry;
    for await (const rest of entry.content) void rest;
    await bytes.skip(leftBytes);
  }
}

function open(header: Header, bytes: Bytes): { readonly entry: TarEntry; readonly leftBytes: number } {
  const isOldFolder = KINDS[header.type] === 'file' && header.name.endsWith('/');
  const kind = isOldFolder ? 'folder' : KINDS[header.type];
  if (kind === undefined) throw invalid(`an entry of kind ${JSON.stringify(header.type)}`);
  // Links and folders have no content, whatever size their header states (ustar: "size … shall be ignored" for links).
  const sizeBytes = kind === 'file' ? header.sizeBytes : 0;
  const { name, mode, mtimeS, target } = header;
  return { entry: { name, kind, mode, mtimeS, sizeBytes, target, content: bytes.pieces(sizeBytes) }, leftBytes: padded(sizeBytes) - sizeBytes };
}

function parseHeader(block: Buffer): Header {
  const stated = octal(block, 148, 8, 'checksum');
  const sum = block.reduce((all, byte, index) => all + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (stated !== sum) throw invalid('a header whose checksum is wrong');
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? string(block, 345, 155) : '';
  const name = string(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: block.toString('latin1', 156, 157),
    mode: octal(block, 100, 8, 'mode') & 0o7777,
    mtimeS: octal(block, 136, 12, 'time'),
    sizeBytes: octal(block, 124, 12, 'size'),
    target: string(block, 157, 100),
  };
}

function string(block: Buffer, from: number, length: number): string {
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0); // found before the text is made: a slice of a string keeps the whole of it alive
  return field.toString('latin1', 0, end === -1 ? field.length : end);
}

/** A number in octal digits, or in base 256 where the first bit is set (GNU). */
function octal(block: Buffer, from: number, length: number, what: string): number {
  const first = block[from] ?? 0;
  if (first >= 0x80) return base256(block.subarray(from, from + length), what);
  const text = string(block, from, length).trim();
  if (!/^[0-7]*$/.test(text)) throw invalid(`a header whose ${what} is not a number`);
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function base256(field: Buffer, what: string): number {
  // Negative numbers can only be times before 1970, which mean nothing here.
  if ((field[0] ?? 0) === 0xff) return what === 'time' ? 0 : refuse(what);
  const value = field.subarray(1).reduce((all, byte) => all * 256 + byte, (field[0] ?? 0) & 0x7f);
  return Number.isSafeInteger(value) ? value : refuse(what);
}

function refuse(what: string): never {
  throw invalid(`a header whose ${what} is out of range`);
}

function extend(before: ReadonlyMap<string, string>, type: string, body: Buffer): ReadonlyMap<string, string> {
  if (type === 'L' || type === 'K') return new Map([...before, [type === 'L' ? 'path' : 'linkpath', string(body, 0, body.length)]]);
  const records = paxRecords(body);
  if (type === 'x') return new Map([...before, ...records]);
  // A global header that renames or resizes every entry after it is an attack; a comment is not.
  const [key] = records.keys();
  if (key !== undefined) throw invalid(`a global header that sets ${key}`);
  return before;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record in decimal. Of them only what is used is held. */
function paxRecords(body: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space === -1 ? '' : body.toString('latin1', at, space);
    const end = at + Number(digits);
    if (!/^[1-9]\d{0,7}$/.test(digits) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) throw invalid('a malformed pax header');
    const record = body.toString('latin1', space + 1, end - 1);
    const equals = record.indexOf('=');
    if (equals < 1) throw invalid('a malformed pax header');
    const key = record.slice(0, equals);
    if (key.startsWith('GNU.sparse')) throw invalid('a sparse file');
    if (EXTENDED_KEYS.has(key)) records.set(key, record.slice(equals + 1));
    at = end;
  }
  return records;
}

function merge(header: Header, extended: ReadonlyMap<string, string>): Header {
  const size = extended.get('size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw invalid('a pax header whose size is not a number');
  const merged = {
    ...header,
    name: extended.get('path') ?? header.name,
    target: extended.get('linkpath') ?? header.target,
    sizeBytes: size === undefined ? header.sizeBytes : Number(size),
  };
  if (merged.name.length > PATH_BYTES_MAX || merged.target.length > PATH_BYTES_MAX) throw invalid(`a name of more than ${PATH_BYTES_MAX} bytes`);
  if (`${merged.name}${merged.target}`.includes('\0')) throw invalid('a name with a NUL byte');
  return merged;
}

function bounded(value: number, most: number, what: string): number {
  if (value > most) throw invalid(`${what} of ${value} bytes, which is more than ${most}`);
  return value;
}

const padded = (sizeBytes: number): number => Math.ceil(sizeBytes / BLOCK) * BLOCK;

function invalid(detail: string): CaissonError {
  return new CaissonError('ARCHIVE_INVALID', { detail });
}

/** Bytes of a stream by count. Holds one chunk and what a caller has asked for, and no more. */
class Bytes {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Has some bytes at hand. */
  async #more(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#rest = next.value;
    }
    return true;
  }

  #cut(most: number): Buffer {
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** Exactly so many bytes; null at a clean end. Each is copied once, whatever the chunks it comes in. */
  async take(count: number): Promise<Buffer | null> {
    if (this.#rest.length >= count) return this.#cut(count);
    const taken = Buffer.allocUnsafe(count);
    for (let have = 0; have < count; ) {
      if (await this.#more()) have += this.#cut(count - have).copy(taken, have);
      else if (have === 0) return null;
      else throw invalid('the archive is cut off');
    }
    return taken;
  }

  async *pieces(count: number): AsyncGenerator<Buffer, void, undefined> {
    for (let left = count; left > 0; ) {
      if (!(await this.#more())) throw invalid('the archive is cut off');
      const piece = this.#cut(left);
      left -= piece.length;
      yield piece;
    }
  }

  /** Passes over padding. Some writers (umoci) leave it out after the last entry. */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0 && (await this.#more()); ) left -= this.#cut(left).length;
  }

  /** Reads to the end, so that whoever hashes the stream has seen all of it. */
  async drain(): Promise<void> {
    while (await this.#more()) this.#cut(this.#rest.length);
  }
}

import { createHash } from 'node:crypto';
import { CaissonError, printable } from '@caisson/contract';
import type { TarEntry } from '@caisson/tar';

export interface UnpackResult {
  /** Hard links count as files. */
  readonly files: number;
  readonly directories: number;
  readonly links: number;
  readonly bytes: number;
}

/** An entry that may be written. */
export interface Named {
  readonly entry: TarEntry;
  /** Path below the directory that is unpacked into: no empty name, no `.` and no `..`. */
  readonly name: Buffer;
  /** What a link says; of a hard link, the path of the file below the same directory. */
  readonly target: Buffer;
  /** The content, counted. */
  readonly content: AsyncIterable<Buffer>;
}

interface Limits {
  readonly totalBytes: number;
  readonly entries: number;
  readonly depth: number;
  readonly links: boolean;
}

const NAME_BYTES_MAX = 255;
const NAMES_BYTES_MAX = 3072;

/** Decides about each entry of an archive by itself and by what came before it, and counts. */
export class Entries {
  readonly #limits: Limits;
  /** Names that are no directories, or their digests, by what they are. */
  readonly #seen = new Map<string, TarEntry['kind']>();
  #entries = 0;
  #count: UnpackResult = { files: 0, directories: 0, links: 0, bytes: 0 };

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** The entry under its name; null for one that is the directory itself. @throws CaissonError ARCHIVE_INVALID, FILE_TOO_LARGE */
  admit(entry: TarEntry): Named | null {
    this.#entries += 1;
    if (this.#entries > this.#limits.entries) throw tooLarge(`more than ${this.#limits.entries} entries`);
    if (entry.kind === 'device' || entry.kind === 'fifo') throw refused(entry.name, `it is a ${entry.kind}`);
    const names = namesOf(entry.name);
    if (names.length === 0) {
      if (entry.kind === 'folder') return null;
      throw refused(entry.name, 'it has no name');
    }
    if (names.length > this.#limits.depth + 1) throw tooLarge(`an entry below more than ${this.#limits.depth} directories`);
    const name = names.join('/');
    const target = this.#targetOf(entry);
    this.#remember(name, entry.kind);
    return { entry, name: Buffer.from(name, 'latin1'), target, content: this.#counted(entry) };
  }

  result(): UnpackResult {
    return this.#count;
  }

  #targetOf(entry: TarEntry): Buffer {
    if (entry.kind === 'symbolic-link') {
      if (!this.#limits.links) throw refused(entry.name, 'symbolic links are not taken');
      if (entry.target === '' || entry.target.length >= 4096) throw refused(entry.name, 'it links to nothing that can be');
      return Buffer.from(entry.target, 'latin1');
    }
    if (entry.kind !== 'hard-link') return Buffer.alloc(0);
    const target = namesOf(entry.target).join('/');
    // Only a file that this archive has brought: nothing that was there before gets a second name, and no link is linked to.
    if (this.#seen.get(keyOf(target)) !== 'file') throw refused(entry.name, 'it is a hard link to what is no file before it in the archive');
    return Buffer.from(target, 'latin1');
  }

  #remember(name: string, kind: TarEntry['kind']): void {
    if (kind === 'folder') {
      if (this.#seen.has(keyOf(name))) throw refused(name, 'it is in the archive twice');
      this.#count = { ...this.#count, directories: this.#count.directories + 1 };
      return;
    }
    if (this.#seen.has(keyOf(name))) throw refused(name, 'it is in the archive twice');
    this.#seen.set(keyOf(name), kind === 'hard-link' ? 'file' : kind);
    const isLink = kind === 'symbolic-link';
    this.#count = { ...this.#count, files: this.#count.files + (isLink ? 0 : 1), links: this.#count.links + (isLink ? 1 : 0) };
  }

  async *#counted({ content, sizeBytes }: TarEntry): AsyncGenerator<Buffer, void, undefined> {
    // What a header promises is refused before a byte of it is written.
    if (this.#count.bytes + sizeBytes > this.#limits.totalBytes) throw tooLarge(`more than ${this.#limits.totalBytes} bytes of content`);
    for await (const chunk of content) {
      this.#count = { ...this.#count, bytes: this.#count.bytes + chunk.length };
      yield chunk;
    }
  }
}

/** What is remembered of a name: an archive has a hundred thousand of them, each as long as it likes. A short name is shorter than a digest. */
function keyOf(name: string): string {
  return name.length < 32 ? name : createHash('sha256').update(name, 'latin1').digest('base64');
}

/** The names of a relative path, one byte per character. */
function namesOf(path: string): readonly string[] {
  if (path.startsWith('/')) throw refused(path, 'its path is absolute');
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw refused(path, 'its path leads upwards');
  if (path.length > NAMES_BYTES_MAX || names.some((name) => name.length > NAME_BYTES_MAX)) throw refused(path.slice(0, NAME_BYTES_MAX), 'its path is too long');
  return names;
}

function refused(name: string, why: string): CaissonError {
  return new CaissonError('ARCHIVE_INVALID', { detail: `${printable(Buffer.from(name, 'latin1').toString('utf8'))}: ${why}` });
}

function tooLarge(detail: string): CaissonError {
  return new CaissonError('FILE_TOO_LARGE', { path: 'the archive', detail });
}

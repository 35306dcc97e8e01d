import { constants } from 'node:fs';
import { open, readdir, readFile, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { MIRROR_BYTES, MIRROR_NAME, readEntryBody, SandboxId, type Entry } from '@caisson/contract';
import { auditView } from '@caisson/projection';
import { MIRROR_OF } from '@caisson/runtime';

/** Between two looks at the log and at the mirrors that there are, in milliseconds. */
const LOOK_MS = 100;
/** What the line that says that a mirror is full may take. */
const LAST_LINE_BYTES = 512;

const Of = z.strictObject({ sandbox: SandboxId, from: z.int().min(0) });

interface Mirror {
  readonly sandbox: string;
  readonly file: FileHandle;
  /** Entries below this index are in it, as far as they are its own. */
  next: number;
  /** Bytes that the records so far take. */
  end: number;
  full: boolean;
}

export interface MirrorsOptions {
  /** Holds one folder for each mirror, made and removed by the launcher alone. */
  readonly folder: string;
  /** The entries that are published from this index on. */
  readonly read: (from: number) => AsyncIterable<{ readonly entry: Entry }>;
  /** Told when mirrors cannot be written, with the reason, and when they can again: null. */
  readonly onTrouble: (detail: string | null) => void;
  /** Told after every look, with what was in its way; null: nothing. */
  readonly onLook: (detail: string | null) => void;
}

/**
 * Writes to each mirror the records of the calls and execs of its sandbox, in the order of the log. What a mirror holds follows from
 * the log alone, to the byte, and every record is written at its own place: whoever begins anew writes what is there already, and
 * nothing is missing or there twice. Nobody waits for a mirror. What cannot be written is told, and tried again.
 */
export class Mirrors implements AsyncDisposable {
  readonly #options: MirrorsOptions;
  readonly #mirrors = new Map<string, Mirror>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #trouble: string | null = null;
  #closed = false;

  constructor(options: MirrorsOptions) {
    this.#options = options;
  }

  open(): this {
    this.#later();
    return this;
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.look().then(() => this.#say(null), (error: unknown) => this.#say((error as Error).message)).finally(() => this.#later());
    }, LOOK_MS);
  }

  #say(trouble: string | null): void {
    if (trouble !== this.#trouble) this.#options.onTrouble(trouble);
    this.#trouble = trouble;
    this.#options.onLook(trouble);
  }

  /** Takes in what there is now. A mirror that cannot be written holds up no other. @throws what the log or a mirror could not be read or written for */
  async look(): Promise<void> {
    const failed = await this.#find();
    const unfilled = new Set([...this.#mirrors.values()].filter(({ full }) => !full));
    if (unfilled.size > 0) failed.push(...(await this.#read(unfilled)));
    if (failed.length > 0) throw failed[0];
  }

  /** @returns what mirrors could not be written for; they are out of the set */
  async #read(unfilled: Set<Mirror>): Promise<unknown[]> {
    const failed: unknown[] = [];
    for await (const { entry } of this.#options.read(Math.min(...[...unfilled].map(({ next }) => next)))) {
      if (this.#closed) return failed;
      for (const mirror of unfilled) {
        await take(mirror, entry).catch((error: unknown) => {
          unfilled.delete(mirror);
          failed.push(error);
        });
      }
    }
    return failed;
  }

  /** @returns what mirrors could not be begun for */
  async #find(): Promise<unknown[]> {
    const failed: unknown[] = [];
    const { folder } = this.#options;
    const there = new Set(await readdir(folder));
    for (const [id, { file }] of this.#mirrors) {
      if (there.has(id)) continue;
      this.#mirrors.delete(id);
      await file.close();
    }
    for (const id of there) {
      if (!this.#mirrors.has(id)) await this.#begin(id).catch((error: unknown) => failed.push(error));
    }
    return failed;
  }

  async #begin(id: string): Promise<void> {
    const at = `${this.#options.folder}/${id}`;
    try {
      const { sandbox, from } = Of.parse(JSON.parse(await readFile(`${at}/${MIRROR_OF}`, 'utf8')));
      const file = await open(`${at}/${MIRROR_NAME}`, constants.O_WRONLY | constants.O_NOFOLLOW);
      this.#mirrors.set(id, { sandbox, file, next: from, end: 0, full: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // it is being made, or has gone
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    await Promise.all([...this.#mirrors.values()].map(({ file }) => file.close()));
    this.#mirrors.clear();
  }
}

/** After a failure the same entry comes again, and its record goes to the same place. */
async function take(mirror: Mirror, entry: Entry): Promise<void> {
  if (entry.index < mirror.next || mirror.full) return;
  const record = ofSandbox(entry) === mirror.sandbox ? auditView(entry) : null;
  if (record !== null) {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    const full = mirror.end + line.length > MIRROR_BYTES - LAST_LINE_BYTES;
    const bytes = full ? lastLine(record.t) : line;
    await writeAt(mirror.file, bytes, mirror.end);
    mirror.end += bytes.length;
    mirror.full = full;
  }
  mirror.next = entry.index + 1;
}

/** Whose record an entry is; null: it is no call and no exec. */
function ofSandbox(entry: Entry): string | null {
  const read = readEntryBody(entry);
  if (read?.is === 'call') return entry.subject;
  return read?.is === 'exec' ? read.body.sandbox : null;
}

/** In the shape of the records of Rynxs that are of no tool. */
function lastLine(t: number): Buffer {
  return Buffer.from(`${JSON.stringify({ t, event: 'AUDIT_MIRROR_FULL', ns: 'caisson', reason: `this copy holds no more than ${MIRROR_BYTES} bytes; the log goes on` })}\n`);
}

async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}

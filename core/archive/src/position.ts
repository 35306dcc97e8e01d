import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';

const Halt = z.strictObject({ state: z.enum(['fenced', 'forked']), detail: z.string(), timeMs: z.int() });
/** Why an archiver has stopped for good, and when: milliseconds since 1970 UTC. */
export type Halt = z.infer<typeof Halt>;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const Position = z.strictObject({
  store: z.string(),
  /** Digest of the head that is known to be in the store. */
  last: digest.optional(),
  /** Digest of the head whose writing was begun. */
  attempted: digest.optional(),
  halt: Halt.optional(),
});
type Position = z.infer<typeof Position>;

/**
 * What an archiver has written last, durable, so that a new one knows whether the head in the store is its own or another's.
 * Where there is none it takes over what it finds, if that is of the same log: that is how an operator lets it go on.
 */
export class PositionFile {
  readonly #path: string;
  #position: Position;

  private constructor(path: string, position: Position) {
    this.#path = path;
    this.#position = position;
  }

  /** Reads it; one of another store counts as none. @throws Error when the file is there and cannot be read */
  static async open(path: string, store: string): Promise<PositionFile> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    const position = text === null ? { store } : Position.parse(JSON.parse(text));
    return new PositionFile(path, position.store === store ? position : { store });
  }

  /** The head that was known to be there. */
  get last(): string | undefined {
    return this.#position.last;
  }

  get halt(): Halt | undefined {
    return this.#position.halt;
  }

  /** Whether a head in the store is one that this archiver wrote, or may be taken over. */
  isOwn(head: string): boolean {
    const { last, attempted } = this.#position;
    return (last === undefined && attempted === undefined) || head === last || head === attempted;
  }

  /** Notes that the store holds `last` and that `attempted` is about to be written over it. */
  async attempt(last: string | undefined, attempted: string): Promise<void> {
    await this.#write({ store: this.#position.store, ...(last === undefined ? {} : { last }), attempted });
  }

  /** Notes that the store holds `last`, and nothing else is on its way. */
  async confirm(last: string): Promise<void> {
    await this.#write({ store: this.#position.store, last });
  }

  /** Notes that nothing may be written any more. */
  async stop(halt: Halt): Promise<void> {
    await this.#write({ ...this.#position, halt });
  }

  async #write(position: Position): Promise<void> {
    const next = `${this.#path}.new`;
    {
      await using file = await open(next, 'w', 0o600);
      await file.writeFile(JSON.stringify(position));
      await file.sync();
    }
    await rename(next, this.#path);
    await using folder = await open(dirname(this.#path), 'r');
    await folder.sync();
    this.#position = position;
  }
}

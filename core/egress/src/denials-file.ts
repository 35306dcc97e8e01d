import { chmod, rename, writeFile } from 'node:fs/promises';
import { DENIALS_FILE } from '@caisson/contract';

/** Least between two writings, in milliseconds: what a sandbox tries costs the host four writings a second, however much it is. */
const BETWEEN_MS = 250;

/**
 * The file in which a sandbox reads what was refused to it. It is whole at any time: what is new is written beside it and takes
 * its place. What cannot be written, such as where nobody has made the folder, is left out; the next change tries again.
 */
export class DenialsFile {
  readonly #folder: string;
  readonly #text: () => string;
  #timer: NodeJS.Timeout | null = null;
  #last: Promise<void> = Promise.resolve();
  #written = '';
  #closed = false;

  /** @param text what is to be in the file by now */
  constructor({ folder, text }: { readonly folder: string; readonly text: () => string }) {
    this.#folder = folder;
    this.#text = text;
  }

  /** Writes it, and resolves when that is done or has failed. */
  open(): Promise<void> {
    return this.#begin();
  }

  /** Has it written soon. Costs nothing while that is to come anyway. */
  changed(): void {
    if (this.#closed || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#begin();
    }, BETWEEN_MS);
  }

  /** One after the other: all of them write the same file beside it. Of those that wait the first writes what there is by then. */
  #begin(): Promise<void> {
    this.#last = this.#last.then(() => this.#write()).catch(() => void (this.#written = ''));
    return this.#last;
  }

  async #write(): Promise<void> {
    if (this.#closed) return;
    const text = this.#text();
    if (text === this.#written) return;
    this.#written = text;
    const next = `${this.#folder}/${DENIALS_FILE}.next`;
    await writeFile(next, text, { mode: 0o644 });
    await chmod(next, 0o644); // whoever is inside reads it; the umask counts for nothing
    await rename(next, `${this.#folder}/${DENIALS_FILE}`);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}

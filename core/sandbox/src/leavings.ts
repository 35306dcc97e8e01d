import { problemOf } from '@caisson/contract';

const RETRY_MS = 1_000;

interface Removing {
  remove(id: string): Promise<void>;
}

/** Workspaces that went with their sandbox and could not be removed yet, because the launcher was away or still held them. */
export class Leavings implements Disposable {
  readonly #workspaces: Removing;
  readonly #ids = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(workspaces: Removing) {
    this.#workspaces = workspaces;
  }

  /** Resolves when it is removed or has been noted for later. */
  async remove(id: string): Promise<void> {
    const gone = await this.#workspaces.remove(id).then(() => true, (error: unknown) => problemOf(error).code === 'WORKSPACE_NOT_FOUND');
    if (gone) this.#ids.delete(id);
    else this.#ids.add(id);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#ids.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void Promise.all([...this.#ids].map((id) => this.remove(id)));
    }, RETRY_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

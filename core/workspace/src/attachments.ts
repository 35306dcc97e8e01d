import { mkdir, rmdir } from 'node:fs/promises';
import { failure } from './failure.ts';
import { ToolError, type Tool } from './tool.ts';
import type { Attachment, AttachOptions } from './types.ts';

/** How long a detach waits for the last holder of the files. */
const PATIENCE_MS = 30_000;

const LOST: ReadonlySet<string> = new Set(['EPIPE', 'EINTR']);

interface Lease {
  readonly sandbox: string;
  /** Where it is mounted; null once that is taken away, while something may still hold the files. */
  path: string | null;
  readonly detach: () => Promise<void>;
}

/** Who has which workspace. Besides this, the kernel holds a lock on the image for as long as it is in use. */
export class Attachments implements AsyncDisposable {
  readonly #tool: Tool;
  readonly #mounts: string;
  readonly #leases = new Map<string, Lease>();

  constructor(tool: Tool, mounts: string) {
    this.#tool = tool;
    this.#mounts = mounts;
  }

  holder(id: string): string | null {
    return this.#leases.get(id)?.sandbox ?? null;
  }

  path(id: string): string | null {
    return this.#leases.get(id)?.path ?? null;
  }

  /** @param inTurn runs work when nothing else works on this workspace; this call itself is such a turn */
  async attach(id: string, image: string, { hostUid, sandbox, readOnly = false, mirror = false }: AttachOptions, inTurn: (work: () => Promise<void>) => Promise<void>): Promise<Attachment> {
    const path = `${this.#mounts}/${id}`;
    await mkdir(path, { recursive: true, mode: 0o700 });
    await this.#tool.run('attach', image, path, String(hostUid), readOnly ? 'ro' : 'rw', mirror ? 'mirror' : 'plain').catch(async (error: unknown) => {
      // An operation whose server was killed may still end well, unseen: what it mounted is taken away.
      if (error instanceof ToolError && LOST.has(error.errno)) await this.#tool.run('detach', image, path, '1000').catch(() => undefined);
      await rmdir(path).catch(() => undefined);
      throw failure(error, id);
    });
    let detached: Promise<void> | undefined;
    const detach = (): Promise<void> => {
      detached ??= inTurn(() => this.#release(id, image, path)).catch((error: unknown) => {
        detached = undefined;
        throw error;
      });
      return detached;
    };
    this.#leases.set(id, { sandbox, path, detach });
    return { path, detach };
  }

  async #release(id: string, image: string, path: string): Promise<void> {
    const lease = this.#leases.get(id);
    if (lease !== undefined) lease.path = null;
    try {
      await this.#tool.run('detach', image, path, String(PATIENCE_MS));
      await rmdir(path);
    } catch (error) {
      throw failure(error, id);
    }
    this.#leases.delete(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = await Promise.allSettled([...this.#leases.values()].map((lease) => lease.detach()));
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
  }
}

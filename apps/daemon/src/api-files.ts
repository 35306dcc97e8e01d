import { FilesClient } from '@caisson/files';
import type { Asking, SandboxService } from '@caisson/sandbox';
import type { Files, FilesRoom } from './api/rooms.ts';

/** A helper that nobody has used for this long is ended. */
const IDLE_MS = 10_000;

interface Shared {
  readonly client: Promise<FilesClient>;
  users: number;
  timer: NodeJS.Timeout | undefined;
}

/** The files of sandboxes for the API: requests that follow each other share one helper, which a restore or a close ends. */
export class SharedFiles implements FilesRoom, AsyncDisposable {
  readonly #sandboxes: SandboxService;
  readonly #shared = new Map<string, Shared>();

  constructor(sandboxes: SandboxService) {
    this.#sandboxes = sandboxes;
  }

  async open(sandbox: string, asking: Asking): Promise<Files> {
    const { id } = this.#sandboxes.get(sandbox);
    const shared = this.#shared.get(id) ?? this.#start(id, asking);
    const use = this.#sandboxes.use(id);
    shared.users += 1;
    clearTimeout(shared.timer);
    try {
      return filesOf(await shared.client, () => {
        use[Symbol.dispose]();
        this.#leave(id, shared);
      });
    } catch (error) {
      use[Symbol.dispose]();
      this.#forget(id, shared);
      throw error;
    }
  }

  #start(id: string, asking: Asking): Shared {
    const client = this.#sandboxes.files(id, asking).then((socket) => {
      socket.once('close', () => this.#forget(id, shared));
      const opened = new FilesClient(socket);
      socket.resume(); // it comes paused, so that nothing is lost before somebody listens
      return opened;
    });
    const shared: Shared = { client, users: 0, timer: undefined };
    this.#shared.set(id, shared);
    return shared;
  }

  #leave(id: string, shared: Shared): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    shared.timer = setTimeout(() => {
      this.#forget(id, shared);
      void shared.client.then((client) => client[Symbol.asyncDispose](), () => undefined);
    }, IDLE_MS);
    shared.timer.unref();
  }

  #forget(id: string, shared: Shared): void {
    clearTimeout(shared.timer);
    if (this.#shared.get(id) === shared) this.#shared.delete(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [id, shared] of this.#shared) {
      this.#forget(id, shared);
      await shared.client.then((client) => client[Symbol.asyncDispose](), () => undefined);
    }
  }
}

/** What the API asks of files, of the client that speaks with the helper. */
function filesOf(client: FilesClient, leave: () => void): Files {
  return {
    stat: (path, options) => client.stat(path, options),
    list: (path, options) => client.list(path, options),
    read: (path, options) => client.read(path, options),
    write: (path, body, { parents, ...options }) => client.write(path, body, { ...options, ...(parents === undefined ? {} : { createParents: parents }) }),
    append: (path, body) => client.append(path, body),
    async mkdir(path, options) {
      await client.mkdir(path, options);
      return client.stat(path);
    },
    async move(from, to, { replace }) {
      await client.move(from, to, { noReplace: replace !== true });
      return client.stat(to);
    },
    remove: (path, options) => client.remove(path, options),
    async chmod(path, mode) {
      await client.chmod(path, mode);
      return client.stat(path);
    },
    watch: (path, options) => client.watch(path, options),
    search: (path, query) => client.search(path, query),
    patch: (path, diff) => client.patch(path, diff),
    pack: (path) => client.pack(path),
    unpack: (path, tar) => client.unpack(path, tar),
    async [Symbol.asyncDispose]() {
      leave();
    },
  };
}

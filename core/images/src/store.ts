import { chmodSync, mkdirSync } from 'node:fs';
import { CaissonError } from '@caisson/contract';
import type { ImageDefinition } from './definition.ts';
import { completeAdditions } from './additions.ts';
import { acquireBuilt, acquireSource, type Acquired, type Ground } from './acquire.ts';
import { folderOf, leftovers, readNames, readRecord, readRecords, retire, writeNames, type ImageRecord } from './records.ts';
import { removeTree } from './remove-tree.ts';
import type { Identity } from './run-tool.ts';
import { DEFAULT_MAXIMUM, type ImageInfo, type ImageMaximum, type ImageSource } from './source.ts';

export interface ImagesOptions {
  /** Folder of the store, which `as` must be able to pass. One process at a time opens it. */
  readonly dir: string;
  /** Who reads hostile bytes. Default: who the caller is; under root it MUST be a user that owns nothing else. */
  readonly as?: Identity | undefined;
  readonly maximum?: ImageMaximum;
  /** Folder of certificates of authorities for registries. Default: those of the host. */
  readonly certificates?: string;
  /** As in `process.arch`. Default: this machine's. */
  readonly arch?: string;
  readonly now?: () => number;
}

export interface ImportOptions {
  /** Name that the image gets on this host beside those it has; another image that has it loses it. Default: none is given. */
  readonly name?: string;
  onProgress(line: string): void;
  readonly signal: AbortSignal;
}

/** An image that is not removed while this is held. */
export interface PinnedImage extends Disposable {
  readonly info: ImageInfo;
  /** Holds `rootfs`, the image's files, and `additions`, the layer over them with what a sandbox needs. */
  readonly folder: string;
}

/** Images of this host: unpacked once, read-only, named by the digest of their manifest. */
export interface ImageStore {
  list(): readonly ImageInfo[];
  /** By digest or by local name; null where there is none. */
  get(ref: string): ImageInfo | null;
  /** @throws CaissonError IMAGE_NOT_FOUND */
  rootfs(digest: string): string;
  /**
   * Brings an image in. Nothing of it is seen before all of it is verified, unpacked and on disk; one that is there
   * already is not unpacked again.
   * @throws CaissonError IMAGE_INVALID, IMAGE_TOO_LARGE, IMAGE_UNAVAILABLE, IMAGE_TAG_REFUSED, IMAGE_TOOL_MISSING
   */
  import(source: ImageSource, options: ImportOptions): Promise<ImageInfo>;
  /** Builds an image from Debian packages; needs root. @throws as `import` does */
  build(definition: ImageDefinition, options: Omit<ImportOptions, 'name'>): Promise<ImageInfo>;
  /**
   * By digest or by local name: of an image with several names only that one is taken away.
   * @throws CaissonError IMAGE_NOT_FOUND, IMAGE_IN_USE
   */
  remove(ref: string): Promise<void>;
  /** Pins an image while a sandbox runs from it. @throws CaissonError IMAGE_NOT_FOUND */
  use(digest: string): PinnedImage;
}

/** Opens the store and removes what a process that was killed left half done. */
export async function openImages(options: ImagesOptions): Promise<ImageStore> {
  const { dir, as, certificates, maximum = DEFAULT_MAXIMUM, arch = process.arch, now = Date.now } = options;
  const ground: Ground = { dir, as, maximum, certificates, arch, now };
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o711);
  for (const folder of leftovers(dir)) await removeTree(folder);
  for (const { digest } of readRecords(dir)) completeAdditions(`${folderOf(dir, digest)}/additions`);
  const pins = new Map<string, number>();
  let queue: Promise<unknown> = Promise.resolve();
  /** One import at a time: two would be processes of one user, and could reach into each other's files. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work, work);
    queue = turn.catch(() => undefined);
    return turn;
  };

  const withNames = (record: ImageRecord, all = readNames(dir)): ImageInfo => {
    const names = Object.keys(all).filter((name) => all[name] === record.digest);
    return { ...record, name: names[0] ?? null, names };
  };
  const keepNames = (those: (name: string, digest: string) => boolean): void =>
    writeNames(dir, Object.fromEntries(Object.entries(readNames(dir)).filter(([name, digest]) => those(name, digest))));
  const get = (ref: string): ImageInfo | null => {
    const names = readNames(dir);
    const digest = ref.startsWith('sha256:') ? ref : Object.hasOwn(names, ref) ? names[ref] : undefined;
    const record = digest === undefined || !/^sha256:[0-9a-f]{64}$/.test(digest) ? null : readRecord(dir, digest);
    return record === null ? null : withNames(record, names);
  };
  const known = (ref: string): ImageInfo => {
    const info = get(ref);
    if (info === null) throw new CaissonError('IMAGE_NOT_FOUND', { image: ref });
    return info;
  };
  const found = (digest: string): ImageInfo => {
    if (!digest.startsWith('sha256:')) throw new CaissonError('IMAGE_NOT_FOUND', { image: digest });
    return known(digest);
  };
  const named = ({ digest }: Acquired, name: string | undefined): ImageInfo => {
    if (name !== undefined) writeNames(dir, Object.fromEntries([[name, digest], ...Object.entries(readNames(dir)).filter(([each]) => each !== name)]));
    return found(digest);
  };

  return {
    list: () => readRecords(dir).map((record) => withNames(record)).toSorted((a, b) => a.importedMs - b.importedMs),
    get,
    rootfs: (digest) => `${folderOf(dir, found(digest).digest)}/rootfs`,
    import: async (source, { name, ...rest }) => {
      if (name !== undefined && !/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) || name === 'host') throw new CaissonError('REQUEST_INVALID', { detail: `name: ${name} cannot be the name of an image` });
      return named(await inTurn(() => acquireSource(source, { ...ground, ...rest })), name);
    },
    build: async (definition, rest) => named(await inTurn(() => acquireBuilt(definition, { ...ground, ...rest })), definition.name),
    async remove(ref) {
      const { digest, names } = known(ref);
      if (ref !== digest && names.length > 1) return keepNames((name) => name !== ref);
      if ((pins.get(digest) ?? 0) > 0) throw new CaissonError('IMAGE_IN_USE', { image: digest, count: pins.get(digest) ?? 0 });
      keepNames((_, of) => of !== digest);
      const retired = retire(dir, digest);
      await removeTree(retired.slice(0, retired.lastIndexOf('/')));
    },
    use(digest) {
      const info = found(digest);
      pins.set(digest, (pins.get(digest) ?? 0) + 1);
      let held = true;
      return {
        info,
        folder: folderOf(dir, digest),
        [Symbol.dispose]() {
          if (held) pins.set(digest, (pins.get(digest) ?? 1) - 1);
          held = false;
        },
      };
    },
  };
}

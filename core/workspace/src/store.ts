import { CaissonError, type LayerInfo, type WorkspaceInfo, type WorkspaceDiff } from '@caisson/contract';
import { statfsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Attachments } from './attachments.ts';
import { checkLabel, checkLayerId, checkName, checkWorkspaceId } from './check.ts';
import { removeIfThere } from './durable.ts';
import { failure } from './failure.ts';
import { exists, type Pool } from './pool.ts';
import { Queues } from './queue.ts';
import { imageOf, partedMs, type LayerRecord, type Records, type WorkspaceRecord } from './records.ts';
import { checkSize, type Templates } from './templates.ts';
import type { Tool } from './tool.ts';
import { compare, pack, unpack } from './transfer.ts';
import type { Attachment, AttachOptions, CreateOptions, ForkOptions, LayerOptions, Size, WorkspaceStore } from './types.ts';

const DIFF_LIMIT = 10_000;

interface Parts {
  readonly tool: Tool;
  readonly pool: Pool;
  readonly mounts: string;
  readonly records: Records;
  readonly templates: Templates;
  readonly now: () => number;
}

/**
 * The order of every change: room, image, record. An image is made whole and durable before its record names it, and removed
 * after its record is gone. Work on one id is done one after the other; a workspace may wait for a layer, never a layer for a workspace.
 */
export class Store implements WorkspaceStore {
  readonly #parts: Parts;
  readonly #queues = new Queues();
  readonly #attachments: Attachments;
  readonly #damaged = new Map<string, string>();
  /** Images that are being made, which are not garbage although no record names them. */
  readonly #making = new Set<string>();
  /** Names that are being taken. */
  readonly #naming = new Set<string>();
  readonly #resources = new AsyncDisposableStack();
  #temporary = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#attachments = new Attachments(parts.tool, parts.mounts);
  }

  /** What is released at the end, last. */
  closing(release: () => Promise<void>): void {
    this.#resources.defer(release);
  }

  /** Looks for the image of every record. */
  async inspect(): Promise<void> {
    const { workspaces, layers } = this.#parts.records;
    for (const { id, image } of [...workspaces.values(), ...layers.values()]) {
      if (!(await exists(this.#path(image)))) this.#damaged.set(id, `its image ${image} is missing`);
    }
  }

  #path(image: string): string {
    return `${this.#parts.pool.images}/${image}`;
  }

  #cloneEmpty(size: Size, target: string, when: 'soon' | 'durable'): Promise<void> {
    return this.#parts.templates.use(size, (template) => this.#parts.tool.run('clone', '-', template, target, when));
  }

  async create(options: CreateOptions): Promise<WorkspaceInfo> {
    const { id, name = null, passing = false, sizeBytes, inodes } = options;
    checkWorkspaceId(id);
    checkName(name);
    checkSize(options);
    return this.#newWorkspace({ id, name, parent: null, passing }, async (target) => {
      await this.#cloneEmpty(options, target, passing ? 'soon' : 'durable');
      return { sizeBytes, inodes };
    }, (there) => there.sizeBytes === sizeBytes && there.inodes === inodes && there.parent === null);
  }

  async fork(from: string, options: ForkOptions): Promise<WorkspaceInfo> {
    const { id, name = null, passing = false } = options;
    checkWorkspaceId(id);
    checkName(name);
    const source = this.#source(from);
    const parent = source.kind === 'layer' ? source.id : source.parent;
    return this.#newWorkspace({ id, name, parent, passing }, (target) => this.#copy(from, target, passing ? 'soon' : 'durable'), (there) => there.parent === parent);
  }

  async #newWorkspace(
    { passing, ...wanted }: Pick<WorkspaceRecord, 'id' | 'name' | 'parent'> & { readonly passing: boolean },
    make: (target: string) => Promise<Size>,
    same: (there: WorkspaceRecord) => boolean,
  ): Promise<WorkspaceInfo> {
    const { id, name } = wanted;
    return this.#queues.run(id, async () => {
      const there = this.#parts.records.workspaces.get(id);
      if (there !== undefined && there.name === name && same(there)) return this.#info(there);
      if (there !== undefined) throw new CaissonError('WORKSPACE_CONFLICT', { detail: `${id} is another workspace` });
      return this.#withName(name, async () => {
        const image = imageOf(id, 0);
        const size = await this.#makeImage(id, image, make);
        const record: WorkspaceRecord = { version: 1, kind: 'workspace', generation: 0, createdMs: this.#parts.now(), image, ...wanted, ...size };
        if (passing) this.#parts.records.keepPassing(record);
        return this.#commit(image, record);
      });
    });
  }

  async #withName(name: string | null, work: () => Promise<WorkspaceRecord>): Promise<WorkspaceInfo> {
    if (name === null) return this.#info(await work());
    if (this.byName(name) !== null || this.#naming.has(name)) throw new CaissonError('WORKSPACE_CONFLICT', { detail: `the name ${name} is taken` });
    this.#naming.add(name);
    try {
      return this.#info(await work());
    } finally {
      this.#naming.delete(name);
    }
  }

  /** Makes an image that no record names yet; what is left of one that failed is removed. Until `#commit` it is not garbage. */
  async #makeImage<T>(subject: string, image: string, make: (target: string) => Promise<T>): Promise<T> {
    await this.#parts.pool.admit();
    this.#making.add(image);
    try {
      await removeIfThere(this.#path(image));
      return await make(this.#path(image));
    } catch (error) {
      await this.#drop(image);
      throw failure(error, subject);
    }
  }

  async #commit<R extends WorkspaceRecord | LayerRecord>(image: string, record: R): Promise<R> {
    try {
      await this.#parts.records.write(record);
      return record;
    } catch (error) {
      throw failure(error, record.id);
    } finally {
      this.#making.delete(image);
    }
  }

  async #drop(image: string): Promise<void> {
    await removeIfThere(this.#path(image)).catch(() => undefined); // collect tries again
    this.#making.delete(image);
  }

  #source(id: string): WorkspaceRecord | LayerRecord {
    const { workspaces, layers } = this.#parts.records;
    const found = workspaces.get(id) ?? layers.get(id);
    if (found === undefined) throw id.startsWith('lay-') ? new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: id }) : new CaissonError('WORKSPACE_NOT_FOUND', { workspace: id });
    const why = this.#damaged.get(id);
    if (why !== undefined) throw new CaissonError('WORKSPACE_DAMAGED', { workspace: id, detail: why });
    return found;
  }

  #workspace(id: string): WorkspaceRecord {
    const found = this.#source(id);
    if (found.kind !== 'workspace') throw new CaissonError('WORKSPACE_NOT_FOUND', { workspace: id });
    return found;
  }

  /** Makes `target` the files of a layer, or of a workspace as it is now. */
  #copy(from: string, target: string, when: 'durable' | 'soon'): Promise<Size> {
    return this.#queues.run(from, async () => {
      const source = this.#source(from);
      await this.#parts.tool.run('clone', this.#attachments.path(from) ?? '-', this.#path(source.image), target, when);
      return { sizeBytes: source.sizeBytes, inodes: source.inodes };
    });
  }

  get(id: string): WorkspaceInfo | null {
    const record = this.#parts.records.workspaces.get(id);
    return record === undefined ? null : this.#info(record);
  }

  byName(name: string): WorkspaceInfo | null {
    const record = [...this.#parts.records.workspaces.values()].find((each) => each.name === name);
    return record === undefined ? null : this.#info(record);
  }

  list(): readonly WorkspaceInfo[] {
    return [...this.#parts.records.workspaces.values()].map((record) => this.#info(record));
  }

  #info({ id, name, sizeBytes, inodes, createdMs, parent }: WorkspaceRecord): WorkspaceInfo {
    const path = this.#attachments.path(id);
    const attachedTo = this.#attachments.holder(id);
    return { id, name, sizeBytes, inodes, createdMs, parent, attachedTo, usedBytes: path === null ? null : usedBytes(path), damaged: this.#damaged.get(id) ?? null };
  }

  attach(id: string, options: AttachOptions): Promise<Attachment> {
    return this.#queues.run(id, async () => {
      const { image } = this.#workspace(id);
      this.#assertFree(id);
      return this.#attachments.attach(id, this.#path(image), options, (work) => this.#queues.run(id, work));
    });
  }

  #assertFree(id: string): void {
    const holder = this.#attachments.holder(id);
    if (holder !== null) throw new CaissonError('WORKSPACE_ATTACHED', { workspace: id, sandbox: holder });
  }

  snapshot(id: string, { layer, label }: LayerOptions): Promise<LayerInfo> {
    return this.#newLayer(layer, label, (there) => there.workspace === id, async (target) => {
      const { generation, parent } = this.#workspace(id);
      const createdMs = this.#parts.now(); // before the moment of the snapshot: what changes later is not older
      return { workspace: id, generation, parent, createdMs, ...(await this.#copy(id, target, 'durable')) };
    });
  }

  async import(tar: Readable, { layer, label, ...size }: LayerOptions & Size): Promise<LayerInfo> {
    checkSize(size);
    return this.#newLayer(layer, label, () => false, async (target) => {
      await this.#cloneEmpty(size, target, 'soon');
      await unpack(this.#parts.tool.binary, tar, target);
      return { workspace: null, generation: 0, parent: null, createdMs: this.#parts.now(), sizeBytes: size.sizeBytes, inodes: size.inodes };
    });
  }

  async #newLayer(
    id: string,
    label: string | undefined,
    same: (there: LayerRecord) => boolean,
    make: (target: string) => Promise<Omit<LayerRecord, 'version' | 'kind' | 'id' | 'image' | 'label'>>,
  ): Promise<LayerInfo> {
    checkLayerId(id);
    checkLabel(label);
    return this.#queues.run(id, async () => {
      const there = this.#parts.records.layers.get(id);
      if (there !== undefined && same(there)) return layerInfo(there);
      if (there !== undefined) throw new CaissonError('WORKSPACE_CONFLICT', { detail: `${id} is another snapshot` });
      const image = imageOf(id, 0);
      const made = await this.#makeImage(id, image, make);
      return layerInfo(await this.#commit(image, { version: 1, kind: 'layer', id, image, label: label ?? null, ...made }));
    });
  }

  restore(id: string, layer: string): Promise<void> {
    return this.#queues.run(id, async () => {
      const record = this.#workspace(id);
      this.#assertFree(id);
      if (this.#source(layer).kind !== 'layer') throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: layer });
      const generation = record.generation + 1;
      const image = imageOf(id, generation);
      const size = await this.#makeImage(id, image, (target) => this.#copy(layer, target, this.#parts.records.isPassing(id) ? 'soon' : 'durable'));
      await this.#commit(image, { ...record, ...size, image, generation, parent: layer });
      await this.#drop(record.image);
    });
  }

  layers(): readonly LayerInfo[] {
    return [...this.#parts.records.layers.values()].map(layerInfo);
  }

  removeLayer(id: string): Promise<void> {
    return this.#queues.run(id, async () => {
      const record = this.#parts.records.layers.get(id);
      if (record === undefined) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: id });
      await this.#remove(record);
    });
  }

  remove(id: string): Promise<void> {
    return this.#queues.run(id, async () => {
      const record = this.#parts.records.workspaces.get(id);
      if (record === undefined) throw new CaissonError('WORKSPACE_NOT_FOUND', { workspace: id });
      this.#assertFree(id);
      await this.#remove(record);
    });
  }

  async #remove(record: WorkspaceRecord | LayerRecord): Promise<void> {
    await this.#parts.records.remove(record);
    this.#damaged.delete(record.id);
    await this.#drop(record.image);
  }

  /** The path of a copy of a layer, or of a workspace as it is now, which is gone after `release`. */
  #still(id: string, release: AsyncDisposableStack): Promise<string> {
    return this.#passing(id, (target) => this.#copy(id, target, 'soon'), release);
  }

  /** The path of what a workspace of this size is before anything is in it, which is gone after `release`. */
  #empty(like: string, release: AsyncDisposableStack): Promise<string> {
    const size = this.#source(like);
    return this.#passing(like, (target) => this.#cloneEmpty(size, target, 'soon'), release);
  }

  async #passing(subject: string, make: (target: string) => Promise<unknown>, release: AsyncDisposableStack): Promise<string> {
    const image = `tmp-${this.#temporary++}.img`;
    await this.#makeImage(subject, image, make);
    release.defer(() => this.#drop(image));
    return this.#path(image);
  }

  async diff(from: string | null, to: string, { limit = DIFF_LIMIT }: { readonly limit?: number } = {}): Promise<WorkspaceDiff> {
    await using release = new AsyncDisposableStack();
    const sinceMs = from === null ? 0 : partedMs(from, to, this.#parts.records);
    const [a, b] = [await (from === null ? this.#empty(to, release) : this.#still(from, release)), await this.#still(to, release)];
    // Awaited here: the copies are there until it is done.
    return await compare(this.#parts.tool.binary, { a, b, sinceMs, limit }).catch((error: unknown) => {
      throw failure(error, to);
    });
  }

  async export(id: string): Promise<Readable> {
    await using undo = new AsyncDisposableStack();
    const image = await this.#still(id, undo);
    const release = undo.move();
    return pack(this.#parts.tool.binary, image, id, () => release.disposeAsync());
  }

  async collect(): Promise<{ readonly removed: readonly string[] }> {
    const { records, pool, templates } = this.#parts;
    const removed = [...(await templates.collect())];
    if (records.unreadable.length > 0) return { removed }; // what an unreadable record names is unknown
    for (const image of await readdir(pool.images)) {
      await this.#queues.run(image.split('.')[0] ?? '', async () => {
        if (records.images().has(image) || this.#making.has(image)) return;
        await removeIfThere(this.#path(image));
        removed.push(image);
      });
    }
    return { removed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queues.idle();
    await this.#attachments[Symbol.asyncDispose]();
    await this.#resources.disposeAsync();
  }
}

function layerInfo({ id, workspace, createdMs, sizeBytes, inodes, label }: LayerRecord): LayerInfo {
  return { id, workspace, createdMs, sizeBytes, inodes, label };
}

function usedBytes(path: string): number | null {
  try {
    const { blocks, bfree, bsize } = statfsSync(path);
    return (blocks - bfree) * bsize;
  } catch {
    return null;
  }
}

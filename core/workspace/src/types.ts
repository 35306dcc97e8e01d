import type { Readable } from 'node:stream';
import type { LayerInfo, WorkspaceDiff, WorkspaceInfo } from '@caisson/contract';

export interface Attachment {
  /** Folder to mount at /workspace; nosuid, nodev and noatime hold in it. */
  readonly path: string;
  /** Resolves when nothing holds the files any more. Idempotent. @throws CaissonError WORKSPACE_ATTACHED when something still does after 30 s; it can be called again */
  detach(): Promise<void>;
}

export interface Size {
  /** Size of the file system, its own structures included: 16 MiB to 1 TiB. */
  readonly sizeBytes: number;
  /** Files and folders that fit, 16 to 10 million; the file system rounds up to its next full block of inodes. */
  readonly inodes: number;
}

export interface CreateOptions extends Size {
  /** wsp-… as its caller chose it. */
  readonly id: string;
  /** Small letters, digits, `.`, `_` and `-`, at most 64; no two workspaces have the same. */
  readonly name?: string;
  /** Lasts no longer than this store is open, and costs no wait for the disk. Default false. */
  readonly passing?: boolean;
}

export interface ForkOptions extends Pick<CreateOptions, 'id' | 'name' | 'passing'> {}

export interface AttachOptions {
  /** The host uid (and gid) of the agent, which owns the files as long as it is attached; the one before it is the root of its user namespace. */
  readonly hostUid: number;
  readonly sandbox: string;
  readonly readOnly?: boolean;
  /** Whether there is to be a place for a mirror of records in it, as long as it is attached: a file that nobody can change. Default false. */
  readonly mirror?: boolean;
}

export interface LayerOptions {
  /** lay-… as its caller chose it. */
  readonly layer: string;
  readonly label?: string;
}

/**
 * The workspaces and layers of one instance. Ids are chosen by callers: asking again with the same id and the same
 * parameters gives what there is. Every change is durable when it resolves, and done or not done after any crash; only a
 * `passing` workspace is gone after one.
 *
 * Every method may throw CaissonError WORKSPACES_UNAVAILABLE where this host cannot hold workspaces, and
 * WORKSPACE_FAILED when the kernel refuses a step; nothing is changed then.
 */
export interface WorkspaceStore extends AsyncDisposable {
  /** @throws CaissonError WORKSPACE_INVALID, WORKSPACE_CONFLICT (the id with other parameters, or the name), WORKSPACE_POOL_FULL */
  create(o: CreateOptions): Promise<WorkspaceInfo>;
  get(id: string): WorkspaceInfo | null;
  byName(name: string): WorkspaceInfo | null;
  list(): readonly WorkspaceInfo[];
  /** @throws CaissonError WORKSPACE_NOT_FOUND, WORKSPACE_ATTACHED, WORKSPACE_DAMAGED, AUDIT_MIRROR_TAKEN */
  attach(id: string, o: AttachOptions): Promise<Attachment>;
  /** Keeps the state of this moment, whether attached or not. @throws CaissonError WORKSPACE_NOT_FOUND, WORKSPACE_CONFLICT, WORKSPACE_DAMAGED, WORKSPACE_POOL_FULL */
  snapshot(id: string, o: LayerOptions): Promise<LayerInfo>;
  /** A new workspace with the files of a layer, or of a workspace as it is now. @throws as `create`, and SNAPSHOT_NOT_FOUND, WORKSPACE_NOT_FOUND */
  fork(from: string, o: ForkOptions): Promise<WorkspaceInfo>;
  /** Gives a workspace the files of a layer instead of its own; its size is then that of the layer. @throws CaissonError WORKSPACE_ATTACHED, SNAPSHOT_NOT_FOUND, WORKSPACE_NOT_FOUND */
  restore(id: string, layer: string): Promise<void>;
  layers(): readonly LayerInfo[];
  /** Workspaces forked from it keep their files. @throws CaissonError SNAPSHOT_NOT_FOUND */
  removeLayer(id: string): Promise<void>;
  /** Its layers stay. @throws CaissonError WORKSPACE_ATTACHED, WORKSPACE_NOT_FOUND */
  remove(id: string): Promise<void>;
  /**
   * What `to` has other than `from`; each is a layer, or a workspace as it is now, and null is one with nothing in it. Every path that was added or removed is
   * listed, folders before what is in them; `changed` is other content, mode or type: times do not count.
   * @param o.limit Paths to list. Default 10,000; no more than 16 MiB of them either way.
   */
  diff(from: string | null, to: string, o?: { readonly limit?: number }): Promise<WorkspaceDiff>;
  /** A tar archive (pax) of a layer, or of a workspace as it is now; the same content gives the same bytes. Destroy the stream to give up. */
  export(id: string): Promise<Readable>;
  /** A layer from a tar archive, which may be hostile. @throws CaissonError WORKSPACE_IMPORT_FAILED, WORKSPACE_CONFLICT, WORKSPACE_POOL_FULL */
  import(tar: Readable, o: LayerOptions & Size): Promise<LayerInfo>;
  /** Removes what a crash left. Layers and workspaces are never garbage. Resolves to the file names. */
  collect(): Promise<{ readonly removed: readonly string[] }>;
}

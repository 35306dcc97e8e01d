import type { Readable } from 'node:stream';
import type { ControlStatus, WorkspaceInfo } from '@caisson/contract';
import type { FileInfoBody, ImageImport } from '@caisson/contract/api';
import type { Asking, SandboxService, SnapshotInfo } from '@caisson/sandbox';
import type { z } from 'zod';
import type { Tokens } from './token-store.ts';

/** What stands behind the API. A room that this instance does not offer is null, and its routes say so by NOT_OFFERED. */
export interface ApiRooms {
  readonly sandboxes: SandboxService;
  readonly files: FilesRoom | null;
  readonly workspaces: WorkspacesRoom | null;
  readonly images: ImagesRoom | null;
  readonly tokens: Tokens;
  status(): Promise<ControlStatus>;
  /** Resolves when it is on record that a caller is about to do something. @throws CaissonError EVIDENCE_UNAVAILABLE; nothing is done then */
  record(subject: string, event: string, caller: string): Promise<void>;
}

export interface FilesRoom {
  /** The files of a sandbox's workspace, until they are disposed of. */
  open(sandbox: string, asking: Asking): Promise<Files>;
}

/** A path of a workspace; its bytes where a name in it is not valid UTF-8. */
export type FilePath = string | Buffer;

export interface Match {
  readonly path: string;
  readonly pathBase64?: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** What the API asks of the client of core/files. */
export interface Files extends AsyncDisposable {
  /** Of a link the link itself, or with `follow` what it leads to. */
  stat(path: FilePath, options?: { readonly follow?: boolean }): Promise<FileInfoBody>;
  list(path: FilePath, options?: { readonly recursive?: boolean }): AsyncIterable<FileInfoBody>;
  read(path: FilePath, options?: { readonly offset?: number; readonly length?: number }): Promise<{ readonly info: FileInfoBody; readonly body: Readable }>;
  write(path: FilePath, body: AsyncIterable<Buffer>, options: WriteOptions): Promise<FileInfoBody>;
  append(path: FilePath, body: AsyncIterable<Buffer>): Promise<FileInfoBody>;
  mkdir(path: FilePath, options: { readonly parents?: boolean; readonly mode?: number }): Promise<FileInfoBody>;
  move(from: FilePath, to: FilePath, options: { readonly replace?: boolean }): Promise<FileInfoBody>;
  remove(path: FilePath, options: { readonly recursive?: boolean }): Promise<void>;
  chmod(path: FilePath, mode: number): Promise<FileInfoBody>;
  watch(path: FilePath, options: { readonly recursive?: boolean; readonly signal: AbortSignal }): AsyncIterable<{ readonly kind: string; readonly path: string; readonly pathBase64?: string }>;
  search(path: FilePath, query: { readonly name?: string; readonly content?: string; readonly regex?: boolean; readonly limit: number }): AsyncIterable<Match>;
  patch(path: FilePath, diff: string): Promise<unknown>;
  pack(path: FilePath): Readable;
  unpack(path: FilePath, tar: AsyncIterable<Buffer>): Promise<{ readonly files: number; readonly bytes: number }>;
}

export interface WriteOptions {
  readonly mode?: number;
  readonly parents?: boolean;
  readonly exclusive?: boolean;
  /** What the file must be before it is replaced. */
  readonly expected?: { readonly version: string };
}

export interface Change {
  readonly path: string;
  readonly pathBase64?: string;
  readonly kind: 'added' | 'changed' | 'removed';
  readonly type: string;
  readonly sizeBytes: number;
  readonly mode: number;
}

/** Workspaces and their snapshots, apart from any sandbox. */
export interface WorkspacesRoom {
  /** `attachedTo` is the sandbox as callers know it. */
  list(): Promise<readonly WorkspaceInfo[]>;
  /** By id or name. @throws CaissonError WORKSPACE_NOT_FOUND */
  get(workspace: string): Promise<WorkspaceInfo>;
  /** @throws CaissonError WORKSPACE_NOT_FOUND, WORKSPACE_ATTACHED */
  remove(workspace: string, asking: Asking): Promise<void>;
  /**
   * Makes a new workspace of an archive; without a name it is given one, so that it outlives what it was made in. One that is
   * there already stays as it is, and of an archive that breaks off nothing is left.
   *
   * @throws CaissonError WORKSPACE_EXISTS, ARCHIVE_INVALID
   */
  import(name: string | undefined, tar: AsyncIterable<Buffer>, asking: Asking): Promise<{ readonly workspace: WorkspaceInfo; readonly snapshot: SnapshotInfo }>;
  snapshots(): Promise<readonly SnapshotInfo[]>;
  removeSnapshot(snapshot: string, asking: Asking): Promise<void>;
  /** A tar of the snapshot. */
  export(snapshot: string, asking: Asking): Promise<Readable>;
  /** What the workspace of a sandbox has that the snapshot has not; without one, since the sandbox was made. */
  changes(sandbox: string, options: { readonly from?: string; readonly limit: number }, asking: Asking): Promise<{ readonly changes: readonly Change[]; readonly truncated: boolean }>;
}

export interface ImagesRoom {
  list(): Promise<readonly unknown[]>;
  /** By digest or local name. @throws CaissonError IMAGE_NOT_FOUND */
  get(ref: string): Promise<unknown>;
  /** Imports or builds; what is said meanwhile goes to `onProgress`. */
  import(request: z.output<typeof ImageImport>, options: { onProgress(line: string): void; readonly signal: AbortSignal }): Promise<unknown>;
  remove(ref: string): Promise<void>;
}

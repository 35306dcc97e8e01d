import { z } from 'zod';

export const LayerId: z.ZodType<string> = z.string().regex(/^lay-[0-9a-z]{16}$/, 'must be the id of a snapshot, lay- and 16 letters or digits');
export const WorkspaceId: z.ZodType<string> = z.string().regex(/^wsp-[0-9a-z]{16}$/, 'must be the id of a workspace, wsp- and 16 letters or digits');

/** A workspace of this host: the files of an agent, with hard limits on bytes and files. */
export interface WorkspaceInfo {
  readonly id: string;
  /** Null for one that goes away with its sandbox. */
  readonly name: string | null;
  readonly sizeBytes: number;
  readonly inodes: number;
  readonly createdMs: number;
  /** Snapshot that it started from. */
  readonly parent: string | null;
  /** Sandbox that uses it now. */
  readonly attachedTo: string | null;
  readonly usedBytes: number | null;
  /** What is wrong with it; null for one that can be used. */
  readonly damaged: string | null;
}

/** A snapshot: an immutable layer that workspaces can start from. */
export interface LayerInfo {
  readonly id: string;
  /** Workspace that it was taken of. */
  readonly workspace: string | null;
  readonly createdMs: number;
  readonly sizeBytes: number;
  readonly inodes: number;
  readonly label: string | null;
}

/** One path that differs between two states of a workspace. */
export interface WorkspaceChange {
  /** Relative to the workspace; where it is not valid UTF-8, its readable part, and `pathBase64` is exact. */
  readonly path: string;
  readonly pathBase64?: string;
  readonly kind: 'added' | 'changed' | 'removed';
  readonly type: 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device';
  readonly sizeBytes: number;
  readonly mode: number;
}

export interface WorkspaceDiff {
  readonly changes: readonly WorkspaceChange[];
  /** Whether there are more than are listed. */
  readonly truncated: boolean;
}

const Count = z.number().min(0);
const Text = z.string();

export const WorkspaceInfo: z.ZodType<WorkspaceInfo> = z.strictObject({
  id: WorkspaceId, name: Text.nullable(), sizeBytes: Count, inodes: Count, createdMs: Count, parent: LayerId.nullable(), attachedTo: Text.nullable(),
  usedBytes: Count.nullable(), damaged: Text.nullable(),
});

export const LayerInfo: z.ZodType<LayerInfo> = z.strictObject({
  id: LayerId, workspace: WorkspaceId.nullable(), createdMs: Count, sizeBytes: Count, inodes: Count, label: Text.nullable(),
});

export const WorkspaceDiff: z.ZodType<WorkspaceDiff> = z.strictObject({
  changes: z.array(
    z.strictObject({
      path: Text, pathBase64: Text.exactOptional(), kind: z.enum(['added', 'changed', 'removed']),
      type: z.enum(['file', 'directory', 'symlink', 'fifo', 'socket', 'device']), sizeBytes: Count, mode: Count,
    }),
  ),
  truncated: z.boolean(),
});

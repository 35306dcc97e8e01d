export { openWorkspaces, type OpenOptions } from './open.ts';
export type { Attachment, AttachOptions, CreateOptions, ForkOptions, LayerOptions, Size, WorkspaceStore } from './types.ts';

export { RemoteFiles, RemoteValues, RemoteVault } from './remote.ts';
export { judgeFile, resolveSource, type Ground } from './source.ts';
export type { Resolved } from './resolved.ts';
export { serveFiles, serveValues, serveVault } from './serve.ts';
export { Vault, type LeaseUse, type Restored } from './vault.ts';

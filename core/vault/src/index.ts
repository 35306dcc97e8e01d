export { RemoteValues, RemoteVault } from './remote.ts';
export { resolveSource, type Ground } from './source.ts';
export type { Resolved } from './resolved.ts';
export { serveValues, serveVault } from './serve.ts';
export { Vault, type LeaseUse, type Restored } from './vault.ts';

import { randomBytes } from 'node:crypto';
import type { StatePaths } from '@caisson/contract';
import { serveFiles, serveValues, serveVault, Vault } from '@caisson/vault';
import { listenUnix } from '@caisson/wire';
import { identities, self } from './identity.ts';
import { readPolicy } from './policy.ts';

/** How often leases that are over are looked for when nobody asks. */
const EXPIRE_MS = 1_000;

/**
 * The one process that has secrets. It keeps the rights of whoever started Caisson, for variables, files and programs that
 * references name are theirs; it takes the references from the policy file itself and listens on three sockets of which each
 * is of one peer. At one of them the gate gets the values that go with requests, at another the launcher those that are files.
 */
export async function openVault(paths: StatePaths, home: string): Promise<AsyncDisposable> {
  const { secrets = {} } = readPolicy(paths, home).value;
  const vault = new Vault({ rules: secrets, ground: { env: process.env }, now: Date.now, randomBytes });
  const { control, gate, launcher } = identities(paths.dir, self());
  const ownerOf = ({ uid }: { readonly uid: number }): { readonly owner: number | undefined } => ({ owner: self().uid === 0 ? uid : undefined });
  const forControl = await listenUnix(paths.vaultSocket, ownerOf(control), (socket) => serveVault(socket, vault));
  const forGate = await listenUnix(paths.vaultGateSocket, ownerOf(gate), (socket) => serveValues(socket, vault));
  const forLauncher = await listenUnix(paths.vaultLauncherSocket, ownerOf(launcher), (socket) => serveFiles(socket, vault));
  const expiring = setInterval(() => vault.expire(), EXPIRE_MS);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(expiring);
      await forControl[Symbol.asyncDispose]();
      await forGate[Symbol.asyncDispose]();
      await forLauncher[Symbol.asyncDispose]();
      vault[Symbol.dispose]();
    },
  };
}

import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rename, rmdir, unlink } from 'node:fs/promises';

/** Where the gate says what it refuses: one folder for each link, by its address, which the gate alone writes in. */
export interface DenialsGround {
  /** Nobody but the launcher makes or removes what is directly in it, and so no name in it leads elsewhere. */
  readonly folder: string;
  /** The gate. */
  readonly uid: number;
  readonly gid: number;
}

/** Makes the folder that a sandbox sees. It is empty: nothing of who had that address before is in it. */
export async function makeDenialsFolder(ground: DenialsGround, address: string): Promise<string> {
  const path = `${ground.folder}/${address}`;
  await removeDenialsFolder(ground, address);
  await mkdir(path);
  await chmod(path, 0o755); // whoever is inside reads it; the umask counts for nothing
  await chown(path, ground.uid, ground.gid);
  return path;
}

/**
 * Removes it with what the gate has put in it, and takes it from the gate first. Nothing in it is followed or looked into: what
 * is a folder and not empty the gate does not make, and it stays under another name, where it keeps no address from its next
 * sandbox.
 */
export async function removeDenialsFolder({ folder }: DenialsGround, address: string): Promise<void> {
  const path = `${folder}/${address}`;
  try {
    await chown(path, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    await chmod(path, 0o700);
    for (const name of await readdir(path, { encoding: 'buffer' })) { // a name need not be UTF-8
      const at = Buffer.concat([Buffer.from(`${path}/`), name]);
      await unlink(at).catch(() => rmdir(at).catch(() => undefined));
    }
    await rmdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY') await rename(path, `${folder}/left-${randomUUID()}`);
    else if (code !== 'ENOENT') throw error;
  }
}

/** Removes what an earlier launcher has left: its sandboxes have ended with it. */
export async function sweepDenials(ground: DenialsGround): Promise<void> {
  for (const address of await readdir(ground.folder)) await removeDenialsFolder(ground, address);
}

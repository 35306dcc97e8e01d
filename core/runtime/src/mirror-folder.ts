import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { CaissonError, MIRROR_NAME, type IsolationSpec } from '@caisson/contract';

/** Where the records of sandboxes are mirrored: one folder for each machine, which the launcher alone makes and removes. */
export interface MirrorGround {
  /** Nobody else makes or removes anything in it, and so no name in it leads elsewhere. */
  readonly folder: string;
  /** Who writes the records: it owns the file and nothing around it. */
  readonly uid: number;
  readonly gid: number;
}

/** Says whose records a mirror has, and from which index in the log on. It is there when the mirror is. */
export const MIRROR_OF = 'of.json';

/**
 * Makes the file that a sandbox sees, empty, in a folder of its own. Whoever is inside reads it through a read-only mount, and has no
 * handle to the folder.
 *
 * @returns undefined for a sandbox without a mirror
 * @throws CaissonError AUDIT_MIRROR_REFUSED where nobody would write it
 */
export async function makeMirror({ id, mounts }: Pick<IsolationSpec, 'id' | 'mounts'>, ground: MirrorGround | undefined): Promise<string | undefined> {
  const mirror = mounts.find((mount) => mount.kind === 'mirror');
  if (mirror === undefined) return undefined;
  if (ground === undefined) throw new CaissonError('AUDIT_MIRROR_REFUSED', { detail: 'nothing writes mirrors on this host' });
  const path = `${ground.folder}/${id}`;
  await removeMirror(ground, id);
  await mkdir(path, { mode: 0o755 });
  await using file = await open(`${path}/${MIRROR_NAME}`, 'wx', 0o644);
  await file.chmod(0o644); // whoever is inside reads it; the umask counts for nothing
  await file.chown(ground.uid, ground.gid);
  await writeFile(`${path}/${MIRROR_OF}.new`, JSON.stringify({ sandbox: mirror.sandbox, from: mirror.from }), { flag: 'wx', mode: 0o644 });
  await rename(`${path}/${MIRROR_OF}.new`, `${path}/${MIRROR_OF}`); // nobody reads half of it
  return `${path}/${MIRROR_NAME}`;
}

/** Removes it, with the file, which nobody else can name. Idempotent. */
export async function removeMirror({ folder }: Pick<MirrorGround, 'folder'>, id: string): Promise<void> {
  await rm(`${folder}/${id}`, { recursive: true, force: true });
}

/** Removes what an earlier launcher has left: its sandboxes have ended with it. */
export async function sweepMirrors(ground: Pick<MirrorGround, 'folder'>): Promise<void> {
  for (const id of await readdir(ground.folder)) await removeMirror(ground, id);
}

import { readdir } from 'node:fs/promises';
import { CHECKPOINT_FILE, EARLIER_KEYS_FILE, GROUP_TOO, KEYS_FILE, openIfThere } from './folder.ts';

const TILES = 'tile';
/** A folder that passes its group on to what is made in it. */
const FOLDER_MODE = 0o2000 | GROUP_TOO.folder;

/**
 * Lets the group `gid`, of which this process is a member, read what is published in `dir`. What was made since the group was
 * let in has its group and mode from the start; so the whole is gone through once, and the top, which says that it was, comes last.
 */
export async function letGroupRead(dir: string, gid: number): Promise<void> {
  for (const name of [CHECKPOINT_FILE, KEYS_FILE, EARLIER_KEYS_FILE]) await give(`${dir}/${name}`, gid, GROUP_TOO.file);
  const top = `${dir}/${TILES}`;
  if (await isGiven(top, gid)) return;
  const below = await readdir(top, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of below) await give(`${entry.parentPath}/${entry.name}`, gid, entry.isDirectory() ? FOLDER_MODE : GROUP_TOO.file);
  await give(top, gid, FOLDER_MODE);
}

async function isGiven(path: string, gid: number): Promise<boolean> {
  await using folder = await openIfThere(path);
  const stat = await folder?.stat();
  return stat === undefined || (stat.gid === gid && (stat.mode & 0o7777) === FOLDER_MODE);
}

/** The group goes first: a file with the new mode and the old group would be open to the old one. */
async function give(path: string, gid: number, mode: number): Promise<void> {
  await using file = await openIfThere(path);
  const stat = await file?.stat();
  if (file === null || stat === undefined) return;
  if (stat.gid !== gid) await file.chown(stat.uid, gid);
  if ((stat.mode & 0o7777) !== mode) await file.chmod(mode);
}

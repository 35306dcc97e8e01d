import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a folder's names durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The file is there with all of `text`, or not at all; when this resolves it is durable. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const handle = await open(fresh, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(fresh, path);
  await syncFolder(dirname(path));
}

/** Removes a file durably; one that is gone already is removed. */
export async function removeDurably(path: string): Promise<void> {
  await removeIfThere(path);
  await syncFolder(dirname(path));
}

export async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

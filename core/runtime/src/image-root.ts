import { execFile } from 'node:child_process';
import { mkdir, rmdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CaissonError, type IsolationSpec } from '@caisson/contract';

/** An image that is held while a sandbox runs from it. `folder` has its files in `rootfs` and what is laid over them in `additions`. */
export interface HeldImage extends Disposable {
  readonly folder: string;
}

/** The images of this host, as far as a launch needs them. */
export interface ImageRoots {
  /** @throws CaissonError IMAGE_NOT_FOUND */
  use(digest: string): HeldImage;
}

const run = promisify(execFile);
const MOUNT_MS = 10_000;

/** What a sandbox holds of an image while it runs. */
export interface ImageRoot {
  /** Root directory; undefined for the image `host`, which needs none of its own. */
  readonly path: string | undefined;
  readonly held: HeldImage | undefined;
}

/**
 * Makes the root of one sandbox from an image: a read-only overlay of its own, so that no inode, and with it no lock and
 * no watch, is shared with another sandbox of the same image. Neither nodes of devices nor setuid bits count in it.
 * The layers are named relative to their folder, because options of mount(8) cannot hold every path.
 */
export async function makeImageRoot({ image, id }: Pick<IsolationSpec, 'image' | 'id'>, roots: string, images: ImageRoots | undefined): Promise<ImageRoot> {
  if (image === 'host') return { path: undefined, held: undefined };
  if (images === undefined) throw new CaissonError('IMAGE_NOT_FOUND', { image });
  const held = images.use(image);
  const path = `${roots}/${id}`;
  try {
    await mkdir(path);
    await run('/bin/mount', ['-t', 'overlay', 'overlay', '-o', 'ro,nosuid,nodev,lowerdir=additions:rootfs', path], { cwd: held.folder, timeout: MOUNT_MS });
    return { path, held };
  } catch (error) {
    await removeImageRoot(roots, id);
    held[Symbol.dispose]();
    throw error;
  }
}

/** Removes the root of a sandbox, if it has one. Nothing runs in the sandbox any more. */
export async function removeImageRoot(roots: string, id: string): Promise<void> {
  const path = `${roots}/${id}`;
  try {
    await rmdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    if (code !== 'EBUSY') throw error;
    await run('/bin/umount', [path], { timeout: MOUNT_MS }).catch(() => run('/bin/umount', ['--lazy', path], { timeout: MOUNT_MS }));
    await rmdir(path);
  }
}

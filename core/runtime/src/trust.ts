import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readlink, writeFile } from 'node:fs/promises';
import { CaissonError, MIB, TRUST_BUNDLE, TRUST_CERTIFICATE, TRUST_FOLDER, type IsolationSpec } from '@caisson/contract';
import type { TrustPlace } from '@caisson/isolation';

/** Where systems keep the list of the authorities that they trust. The first that an image has is the list of that image. */
const LISTS = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem', '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem'];
/** Others mount over these in every sandbox, so that no list of the image is seen there. */
const COVERED = ['/.caisson', '/dev', '/proc', '/sys', '/tmp', '/workspace', TRUST_FOLDER];
/** Some fifteen times as much as the lists of today. */
const LIST_BYTES_MAX = 4 * MIB;
/** Symbolic links followed in one path, as in path_resolution(7). */
const HOPS_MAX = 40;

/**
 * Writes the files by which one sandbox trusts an authority that no other does: each list of its image with one certificate
 * more. They are below its bundle and go with it.
 *
 * @param root what the sandbox has as its root, as the launcher sees it: nobody writes to it
 * @returns undefined for a sandbox without an authority of its own
 * @throws CaissonError LAUNCH_FAILED for a list that is none by its size
 */
export async function writeTrust({ mounts }: Pick<IsolationSpec, 'mounts'>, { root, bundle }: { readonly root: string; readonly bundle: string }): Promise<TrustPlace | undefined> {
  const trust = mounts.find((mount) => mount.kind === 'trust');
  if (trust === undefined) return undefined;
  const certificate = Buffer.from(`${trust.certificate.trimEnd()}\n`);
  const folder = `${bundle}/trust`;
  await chmod(bundle, 0o711); // root inside passes through it, and lists nothing
  await makeFolder(folder);
  await makeFile(`${folder}/${TRUST_CERTIFICATE}`, certificate);
  const found = await listsOf(root);
  if (found.size === 0) await makeFile(`${folder}/${TRUST_BUNDLE}`, certificate);
  if (found.size > 1) await makeFolder(`${bundle}/lists`);
  const lists: { readonly at: string; readonly source: string }[] = [];
  for (const [at, list] of found) {
    const source = lists.length === 0 ? `${folder}/${TRUST_BUNDLE}` : `${bundle}/lists/${lists.length}`;
    // The certificate first: whatever the list ends with cannot swallow it.
    await makeFile(source, Buffer.concat([certificate, list]));
    lists.push({ at, source });
  }
  return { folder, lists };
}

/** Modes are set apart, because those that are given at first pass through the umask. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path);
  await chmod(path, 0o755);
}

async function makeFile(path: string, bytes: Buffer): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx' });
  await chmod(path, 0o644);
}

/** The lists of an image by their places. Several names may lead to one of them. */
async function listsOf(root: string): Promise<ReadonlyMap<string, Buffer>> {
  const lists = new Map<string, Buffer>();
  for (const path of LISTS) {
    const at = await placeOf(root, path);
    if (at === null || lists.has(at) || COVERED.some((covered) => at.startsWith(`${covered}/`))) continue;
    lists.set(at, await readList(root, at));
  }
  return lists;
}

/**
 * The file that a path of an image leads to, through links, which count from the image's root and never lead above it; null
 * where there is none that everybody may read. The launcher may read all of them, and what it reads everybody can: the rights
 * are looked at as the kernel does for a user who owns nothing.
 */
async function placeOf(root: string, path: string): Promise<string | null> {
  const left = path.split('/').toReversed();
  const at: string[] = [];
  for (let hops = 0; ; ) {
    const part = left.pop();
    if (part === undefined) return null; // a folder
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const here = `/${[...at, part].join('/')}`;
    const found = await lstat(`${root}${here}`).catch(nothing);
    if (found === null) return null;
    if (found.isSymbolicLink()) {
      if (++hops > HOPS_MAX) return null;
      const target = await readlink(`${root}${here}`);
      if (target.startsWith('/')) at.length = 0;
      left.push(...target.split('/').toReversed());
    } else if (found.isDirectory()) {
      if ((found.mode & constants.S_IXOTH) === 0) return null;
      at.push(part);
    } else {
      return found.isFile() && (found.mode & constants.S_IROTH) !== 0 && left.length === 0 ? here : null;
    }
  }
}

function nothing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ENAMETOOLONG') return null;
  throw error;
}

async function readList(root: string, at: string): Promise<Buffer> {
  await using file = await open(`${root}${at}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const found = await file.stat();
  if (!found.isFile() || found.size > LIST_BYTES_MAX) throw new CaissonError('LAUNCH_FAILED', { detail: `the list of authorities of its image, ${at}, has ${found.size} bytes` });
  return await file.readFile();
}

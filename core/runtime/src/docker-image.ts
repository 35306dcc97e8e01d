import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { z } from 'zod';
import { messageOf, type Engine } from './engine.ts';

const run = promisify(execFile);

const REPOSITORY = 'caisson-root';
const ARCHIVE_BYTES = 64 * 1024 * 1024;
const IMPORT_MS = 60_000;

const Image = z.object({ Id: z.string().regex(/^sha256:[0-9a-f]{64}$/) });
const Images = z.array(z.object({ RepoTags: z.array(z.string()).nullable() }));

/**
 * The image that holds the root of every sandbox: mount points and pid 1. It is named by the digest of its archive, so
 * that one is made for every pid 1 there is, and found again by every launcher that has the same.
 *
 * @returns the id of the image
 * @throws Error in the daemon's words
 */
export async function dockerRoot(engine: Engine, rootfs: string): Promise<string> {
  const archive = await archiveOf(rootfs);
  const tag = createHash('sha256').update(archive).digest('hex');
  const found = await engine.call({ method: 'GET', path: `/images/${REPOSITORY}:${tag}/json` });
  if (found.status === 200) return Image.parse(found.body).Id;
  const path = `/images/create?fromSrc=-&repo=${REPOSITORY}&tag=${tag}`;
  const made = await engine.call({ method: 'POST', path, tar: Readable.from([archive]), timeoutMs: IMPORT_MS });
  const image = await engine.call({ method: 'GET', path: `/images/${REPOSITORY}:${tag}/json` });
  if (image.status !== 200) throw new Error(`the root was not taken in: ${messageOf(made)}`);
  await removeOthers(engine, tag);
  return Image.parse(image.body).Id;
}

/** What lies over the image in every sandbox is not part of it. The same files give the same bytes. */
async function archiveOf(rootfs: string): Promise<Buffer> {
  const argv = ['-C', rootfs, '--create', '--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--exclude=./etc/*', '.'];
  const { stdout } = await run('tar', argv, { encoding: 'buffer', maxBuffer: ARCHIVE_BYTES });
  return stdout;
}

/** Roots of another pid 1 than ours. The daemon keeps what a container still uses, and whoever misses one makes it again. */
async function removeOthers(engine: Engine, tag: string): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ reference: [REPOSITORY] }));
  const { status, body } = await engine.call({ method: 'GET', path: `/images/json?filters=${filters}` });
  const names = status === 200 ? Images.parse(body).flatMap(({ RepoTags }) => RepoTags ?? []) : [];
  for (const name of names.filter((each) => each !== `${REPOSITORY}:${tag}`)) await engine.call({ method: 'DELETE', path: `/images/${name}` });
}

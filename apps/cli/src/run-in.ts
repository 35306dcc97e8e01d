import { randomBytes } from 'node:crypto';
import { lstatSync, readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CaissonError, printable, problem } from '@caisson/contract/errors';
import type { CreateRequest, Sandbox } from '@caisson/sdk';
import { networkOf } from './allow.ts';
import { ask, openApi, type Api } from './api.ts';
import { forgetBrought, keepBrought, type Brought } from './brought.ts';
import { drop } from './changes.ts';
import { exec, type ExecFlags } from './exec-command.ts';
import { ignoreRules } from './ignore.ts';
import { Interrupted, interruption } from './interruption.ts';
import { isOfKernel, lookAt, walk } from './own-folder.ts';
import { archivesOf, type Packing } from './pack-folder.ts';
import { howFar, startProgress } from './progress.ts';
import { parseDurationMs } from './quantity.ts';
import { requestOf, type RunFlags } from './run.ts';
import { note, printJson, told } from './say.ts';
import { CHANGES_MOST } from './snapshot-commands.ts';

/** Wall and CPU time of a command on a folder, where none is asked for: as long as a day of work. */
const WORK_MS = 8 * 3_600_000;
/** How much longer the sandbox lives than its command may take. */
const SPARE_MS = 600_000;
const INODES_DEFAULT = 65_536;

/**
 * Brings a folder into a sandbox of its own, runs a command on it, and says what has changed there. The folder is only read.
 *
 * @returns the exit status of the command; where a signal came before it had begun, 128 and the number of that
 */
export async function runIn(dir: string, argv: readonly string[], flags: RunFlags, home: string): Promise<number> {
  const folder = ownFolder(dir);
  if (folder === '/' || (await isOfKernel(folder))) throw new CaissonError('USAGE', { detail: `--in: ${folder} is not a folder to bring in; name one with the work in it` });
  if (flags.auditMirror === true && (await lookAt(folder, 'audit.jsonl')) !== null) throw new CaissonError('AUDIT_MIRROR_TAKEN', { place: folder, detail: 'it would have to come in' });
  const paths = await looked(folder);
  const api = await openApi(home);
  const workspace = `in-${basename(folder).toLowerCase().replace(/[^a-z0-9._-]+/g, '-').slice(0, 40) || 'root'}-${randomBytes(3).toString('hex')}`;
  const network = await networkOf(flags);
  const request = { ...createIn(argv, flags, workspace, paths), ...(network && { network }) };
  using interrupted = interruption();
  const { signal } = interrupted;
  const box = await api.sdk.Sandbox.create(request, { connection: api.connection }); // not aborted: it might be made all the same, and nobody would know its id
  let brought: Brought | undefined;
  try {
    brought = await bringIn(api, box, folder, { workspace, signal });
    flags.learning?.ended(box.id);
    return await exec(box.id, argv, { signal, ...howToExec(flags) });
  } catch (error) {
    if (error instanceof Interrupted) return notBegun(error, flags.json === true);
    throw error;
  } finally {
    await ended(api, box, brought, workspace);
  }
}

function howToExec({ learning, stdin, cwd, json }: RunFlags): ExecFlags {
  return { streams: learning?.streams, tty: process.stdin.isTTY && process.stdout.isTTY && learning?.streams !== 'stderr', interactive: process.stdin.isTTY || stdin === true, ...(cwd === undefined ? {} : { cwd }), json: json === true };
}

/** @returns the exit status */
function notBegun({ message, status }: Interrupted, json: boolean): number {
  const cancelled = problem('CANCELLED', { detail: message });
  if (json) printJson({ problem: cancelled });
  else note(`${cancelled.code}: ${cancelled.message}`);
  return status;
}

/** @throws CaissonError USAGE when it is no folder */
function ownFolder(dir: string): string {
  try {
    const folder = realpathSync(dir);
    if (lstatSync(folder).isDirectory()) return folder;
  } catch {
    // told below
  }
  throw new CaissonError('USAGE', { detail: `--in: ${dir} is not a folder` });
}

/** Counts what is there, because the size of a workspace is fixed when it is made. */
async function looked(folder: string): Promise<number> {
  const walked = walkOf(folder, () => undefined);
  let paths = 0;
  while ((await walked.next()).done !== true) paths++;
  return paths;
}

function walkOf(folder: string, leftOut: (path: string, why: string) => void): ReturnType<typeof walk> {
  return walk(folder, { ignore: ignoreRules(ignoreText(folder)), leftOut });
}

function ignoreText(folder: string): string {
  try {
    return readFileSync(join(folder, '.caissonignore'), 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return '';
    throw new CaissonError('FILE_DENIED', { path: join(folder, '.caissonignore'), detail: code ?? String(cause) }, { cause }); // without it everything would come in
  }
}

/** @throws CaissonError USAGE */
function createIn(argv: readonly string[], flags: RunFlags, workspace: string, paths: number): CreateRequest {
  const { level, limits = {}, env, secrets, auditMirror } = requestOf(argv, flags);
  const wallMs = flags.timeout === undefined ? WORK_MS : parseDurationMs('--timeout', flags.timeout);
  return {
    workspace,
    limits: { cpuMs: wallMs, inodes: Math.max(INODES_DEFAULT, 2 * paths), ...limits, wallMs },
    ttlMs: wallMs + SPARE_MS,
    keepAlive: true,
    ...(level === undefined ? {} : { level }),
    ...(flags.image === undefined ? {} : { image: flags.image }),
    ...(env === undefined ? {} : { env }),
    ...(secrets === undefined ? {} : { secrets }),
    ...(auditMirror === undefined ? {} : { auditMirror }),
  };
}

/** @throws Interrupted and whatever else `signal` is aborted with: before anything is noted down, or when all of it is */
async function bringIn({ connection }: Api, box: Sandbox, folder: string, { workspace, signal }: { readonly workspace: string; readonly signal: AbortSignal }): Promise<Brought> {
  signal.throwIfAborted();
  using progress = startProgress();
  const leftOut: string[] = [];
  const packing: Packing = { manifest: new Map(), bytes: 0, onProgress: () => progress.tell(howFar('brought in', packing.manifest.size, packing.bytes)) };
  const walked = walkOf(folder, (path, why) => leftOut.push(`${path}: ${why}`));
  for await (const archive of archivesOf(walked, packing)) {
    await ask(connection, { method: 'PUT', path: `/v1/sandboxes/${box.id}/files/archive?path=%2Fworkspace`, bytes: archive, headers: { 'content-type': 'application/x-tar' }, signal });
  }
  signal.throwIfAborted();
  for (const each of leftOut) note(`left out ${printable(each)}`);
  const { id: base } = await box.snapshot({ label: 'brought in' });
  const { dev, ino, birthtimeNs } = lstatSync(folder, { bigint: true });
  const brought: Brought = { version: 1, at: connection.name, sandbox: box.id, workspace, folder, device: String(dev), inode: `${ino}@${birthtimeNs}`, base, manifest: Object.fromEntries(packing.manifest) };
  await keepBrought(brought);
  return brought;
}

/** Closes the sandbox and says what has changed in it. What never came in, or came to nothing, leaves nothing behind. */
async function ended(api: Api, box: Sandbox, brought: Brought | undefined, workspace: string): Promise<void> {
  await box.close();
  if (brought === undefined) {
    await ask(api.connection, { method: 'DELETE', path: `/v1/workspaces/${workspace}` }).catch((error: unknown) => note(`workspace ${workspace} stays until ./caisson workspaces rm ${workspace}: ${told(error).message}`));
    return;
  }
  const { changes, truncated } = await box.changes({ from: brought.base, limit: CHANGES_MOST });
  if (changes.length === 0 && !truncated) {
    await drop(api, brought);
    forgetBrought(box.id);
    return note(`0 paths changed; ${printable(brought.folder)} is as it was, and nothing is kept`);
  }
  const count = truncated ? `more than ${changes.length}` : String(changes.length);
  note(`${count} ${changes.length === 1 ? 'path' : 'paths'} changed; ${printable(brought.folder)} is as it was. See ./caisson changes ${box.id}, then accept or discard it`);
}

import { spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { Change, Sandbox, SandboxInfo } from '@caisson/sdk';
import { ask, openApi, type Api } from './api.ts';
import { allBrought, forgetBrought, readBrought, type Brought } from './brought.ts';
import { isSame, openParent, seenOf, within } from './own-folder.ts';
import type { Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable, showSpan } from './say.ts';
import { CHANGES_MOST, showChanges } from './snapshot-commands.ts';

/** Longest file of which a difference is shown. */
const TEXT_MOST_BYTES = 1024 * 1024;
const READ_MOST_MS = 600_000;
/** Label of a sandbox that lends its files. */
const READER = 'caisson-reads';

/** What differs in the sandbox from the folder that was brought into it; without an id, which folders there are. */
export async function changes(id: string | undefined, { diff, json }: Json & { readonly diff?: boolean }): Promise<number> {
  if (id === undefined) return listBrought(json);
  const brought = readBrought(id);
  if (brought.accepted === true) {
    if (json === true) printJson({ sandbox: id, folder: brought.folder, changes: [], truncated: false });
    else note(`all of ${id} was accepted into ${printable(brought.folder)}`);
    return 0;
  }
  const api = await openBrought(brought);
  if (json === true) printJson({ sandbox: id, folder: brought.folder, ...(await changesOf(api, brought)) });
  else if (diff !== true) showChanges(await changesOf(api, brought));
  else await withFiles(api, brought, async (box) => showTexts(box, brought, (await changesOf(api, brought, box)).changes));
  return 0;
}

function listBrought(json: boolean | undefined): number {
  const all = allBrought();
  if (json === true) printJson({ brought: all.map(({ sandbox, folder, workspace, at, changedMs }) => ({ sandbox, folder, workspace, at, changedMs })) });
  else printTable(['ID', 'AGE', 'FOLDER'], all.map(({ sandbox, changedMs, folder }) => [sandbox, showSpan(Date.now() - changedMs), folder]));
  return 0;
}

/** What differs from what was brought in. A sandbox that is no longer known has a workspace all the same. */
export async function changesOf(api: Api, brought: Brought, box?: Sandbox): Promise<Awaited<ReturnType<Sandbox['changes']>>> {
  const [from, limit] = [brought.base, CHANGES_MOST];
  if (box !== undefined) return box.changes({ from, limit });
  if (await stateOf(api, brought) === null) return withFiles(api, brought, (reader) => reader.changes({ from, limit }));
  return (await api.box(brought.sandbox)).changes({ from, limit });
}

/** The state of the sandbox that the folder was brought into; null when Caisson knows it no more, as after its own end. */
export async function stateOf({ box }: Api, { sandbox }: Brought): Promise<SandboxInfo['state'] | null> {
  try {
    return (await (await box(sandbox)).info()).state;
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'SANDBOX_NOT_FOUND') throw error;
    return null;
  }
}

/** @throws CaissonError USAGE when it was brought into another Caisson */
export async function openBrought({ at, sandbox }: Brought): Promise<Api> {
  const api = await openApi();
  if (api.connection.name !== at) throw new CaissonError('USAGE', { detail: `${sandbox} belongs to the Caisson at ${at}` });
  return api;
}

/** Lends a sandbox in which nothing runs, whose files are those of the workspace; the one that they were changed in is closed. */
export async function withFiles<T>(api: Api, brought: Brought, use: (files: Sandbox) => Promise<T>): Promise<T> {
  const { sdk, connection, box } = api;
  const { sandbox, workspace } = brought;
  const now = await stateOf(api, brought);
  if (now === 'running' || now === 'paused') return use(await box(sandbox));
  const labels = { [READER]: sandbox };
  for await (const { id, state } of sdk.Sandbox.list({ labels }, { connection })) {
    if (state !== 'closed' && state !== 'lost') await (await box(id)).close(); // one that was killed while it read left it
  }
  await ask(connection, { method: 'GET', path: `/v1/workspaces/${workspace}` }); // or an empty one would be made, in which everything is removed
  const reader = await sdk.Sandbox.create({ workspace, labels, ttlMs: READ_MOST_MS, keepAlive: true }, { connection });
  try {
    return await use(reader);
  } finally {
    await reader.close();
  }
}

/** Drops what was brought in and everything that was done to it. The folder is not touched. */
export async function discard(id: string, { json }: Json): Promise<number> {
  const brought = readBrought(id);
  await drop(await openBrought(brought), brought);
  forgetBrought(id);
  if (json === true) printJson({ discarded: id });
  else note(`${id} and its workspace are gone; ${printable(brought.folder)} was not touched`);
  return 0;
}

/** Ends the sandbox and removes its workspace and the snapshot of what was brought in. */
export async function drop({ connection, box }: Api, { sandbox, workspace, base }: Brought): Promise<void> {
  await gone(box(sandbox).then((found) => found.close()), 'SANDBOX_NOT_FOUND');
  await gone(ask(connection, { method: 'DELETE', path: `/v1/workspaces/${workspace}` }), 'WORKSPACE_NOT_FOUND');
  await gone(ask(connection, { method: 'DELETE', path: `/v1/snapshots/${base}` }), 'SNAPSHOT_NOT_FOUND');
}

/** What is away already need not go. */
async function gone(removal: Promise<unknown>, code: string): Promise<void> {
  await removal.catch((error: unknown) => {
    if ((error as { readonly code?: unknown }).code !== code) throw error;
  });
}

async function showTexts(box: Sandbox, brought: Brought, found: readonly Change[]): Promise<void> {
  for (const change of found) {
    const { path, kind, type } = change;
    showMode(brought, change);
    if (type !== 'file') showChanges({ changes: [change], truncated: false });
    else {
      const before = kind === 'added' ? Buffer.alloc(0) : await ownContent(brought, path);
      const after = kind === 'removed' ? Buffer.alloc(0) : await newContent(box, change);
      if (before === null || after === null || [before, after].some((bytes) => bytes.subarray(0, 8_000).includes(0))) {
        showChanges({ changes: [change], truncated: false });
      } else await showText(path, kind, before, after);
    }
  }
}

/** Says in the words of git what became of a mode: `accept` makes it so, and no text shows it. */
function showMode({ manifest }: Brought, { path, kind, type, mode }: Change): void {
  const before = Object.hasOwn(manifest, path) ? manifest[path] : undefined;
  const number = (bits: number): string => `${type === 'directory' ? '040' : '100'}${(bits & 0o777).toString(8).padStart(3, '0')}`;
  if (type !== 'file' && type !== 'directory') return;
  const lines = kind === 'changed' && before?.type === type && before.mode !== (mode & 0o777) ? [`old mode ${number(before.mode)}`, `new mode ${number(mode)}`]
    : kind === 'added' && type === 'file' && (mode & 0o111) !== 0 ? [`new file mode ${number(mode)}`] : [];
  if (lines.length > 0) print(`diff --git a/${printable(path)} b/${printable(path)}\n${lines.join('\n')}\n`);
}

async function newContent(box: Sandbox, { path, sizeBytes }: Change): Promise<Buffer | null> {
  return sizeBytes > TEXT_MOST_BYTES ? null : Buffer.from(await box.files.readBytes(path, { maxBufferBytes: TEXT_MOST_BYTES }));
}

/** What was brought in, which is still in the folder; null when it is there no more as it was, or too long. */
async function ownContent({ folder: root, manifest }: Brought, path: string): Promise<Buffer | null> {
  const before = manifest[path];
  if (before === undefined || before.sizeBytes > TEXT_MOST_BYTES) return null;
  try {
    const { folder, name } = await openParent(root, path);
    await using above = folder;
    await using file = await open(within(above, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    return isSame(before, seenOf(await file.stat({ bigint: true }))) ? await file.readFile() : null;
  } catch {
    return null;
  }
}

async function showText(path: string, kind: Change['kind'], before: Buffer, after: Buffer): Promise<void> {
  const own = await scratch(before);
  try {
    const labels = [kind === 'added' ? '/dev/null' : `a/${path}`, kind === 'removed' ? '/dev/null' : `b/${path}`].flatMap((label) => ['--label', printable(label)]);
    const { stdout } = spawnSync('diff', ['-u', ...labels, '/dev/fd/3', '-'], { input: after, stdio: ['pipe', 'pipe', 'inherit', own.fd], maxBuffer: 16 * TEXT_MOST_BYTES });
    const text = (stdout as Buffer).toString('utf8');
    print(process.stdout.isTTY ? text.split('\n').map(printable).join('\n') : text); // a file of a sandbox must not drive our terminal
  } finally {
    await own.close();
  }
}

/** A file without a name that holds these bytes. */
async function scratch(bytes: Buffer): Promise<Awaited<ReturnType<typeof open>>> {
  const TMPFILE = constants.O_DIRECTORY | 0o20000000; // open(2): O_TMPFILE, which node does not name
  const file = await open(tmpdir(), constants.O_RDWR | TMPFILE, 0o600);
  await file.write(bytes, 0, bytes.length, 0);
  return file;
}

import { CaissonError } from '@caisson/contract';
import type { Connection } from './connection.ts';
import { applyHunks, parseDiff, rejected, type FileDiff } from './diff.ts';
import { absolutePath, joined, shown, told, type FilePath } from './paths.ts';
import { openUpload, readFile, statOrNull, writeFile } from './verbs.ts';
import { REQUEST } from './frames.ts';

export interface PatchResult {
  readonly files: readonly { readonly path: string; readonly pathBase64?: string; readonly change: 'created' | 'changed' | 'removed' }[];
}

const TEXT_BYTES_MAX = 16 * 1024 * 1024;
const ALL_BYTES_MAX = 64 * 1024 * 1024;

/** What one file becomes. */
interface Step {
  readonly path: Buffer;
  /** Content and version now; null where there is no file. */
  readonly before: { readonly text: Buffer; readonly version: Buffer; readonly mode: number } | null;
  /** Null when the file goes. */
  readonly after: Buffer | null;
}

/**
 * Carries out a unified diff below a directory: all of it or nothing. Every file is read and changed in memory first; each
 * is then written in one step if it is still what was read, and what was written is put back when a later one fails.
 * @throws CaissonError PATCH_REJECTED, FILE_CHANGED, and those of reading and writing
 */
export async function applyPatch(connection: Connection, folder: FilePath, diff: string): Promise<PatchResult> {
  const root = absolutePath(folder);
  const steps: Step[] = [];
  const paths = new Set<string>();
  let bytes = 0;
  for (const file of parseDiff(diff)) {
    const step = await stepOf(connection, root, file);
    const key = step.path.toString('latin1');
    if (paths.has(key)) throw rejected(`${shown(step.path)} is changed twice`);
    paths.add(key);
    bytes += (step.before?.text.length ?? 0) + (step.after?.length ?? 0);
    if (bytes > ALL_BYTES_MAX) throw new CaissonError('FILE_TOO_LARGE', { path: shown(root), detail: `the files of a patch have more than ${ALL_BYTES_MAX} bytes` });
    steps.push(step);
  }
  await carryOut(connection, steps);
  return { files: steps.map(({ path, before, after }) => ({ ...told(path), change: before === null ? 'created' : after === null ? 'removed' : 'changed' })) };
}

async function stepOf(connection: Connection, root: Buffer, file: FileDiff): Promise<Step> {
  if (file.from !== null && file.to !== null && file.from !== file.to) throw rejected(`${file.from} and ${file.to} are two names; a patch does not rename`);
  const path = below(root, file.to ?? file.from ?? '');
  if (file.from === null) {
    if ((await statOrNull(connection, path)) !== null) throw rejected(`${shown(path)} is there already`);
    return { path, before: null, after: Buffer.from(applyHunks('', file)) };
  }
  const { record, body } = await readFile(connection, path, {}, 0);
  if (record.info.sizeBytes > TEXT_BYTES_MAX) {
    body.destroy();
    throw new CaissonError('FILE_TOO_LARGE', { path: shown(path), detail: `more than ${TEXT_BYTES_MAX} bytes are not patched` });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks);
  const after = applyHunks(textOf(text, path), file);
  if (file.to === null && after !== '') throw rejected(`${shown(path)} is to be removed, but has other content too`);
  return { path, before: { text, version: record.version, mode: record.info.mode }, after: file.to === null ? null : Buffer.from(after) };
}

/** A path of a diff is below the directory, wherever it tries to lead. */
function below(root: Buffer, name: string): Buffer {
  const path = absolutePath(joined(root, Buffer.from(name)));
  const isBelow = path.length > root.length + 1 && path.subarray(0, root.length + 1).equals(Buffer.concat([root, Buffer.from('/')]));
  if (isBelow && !name.startsWith('/')) return path;
  throw new CaissonError('FILE_OUTSIDE', { path: name });
}

function textOf(bytes: Buffer, path: Buffer): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return text;
  throw rejected(`${shown(path)} is not UTF-8 text`);
}

async function carryOut(connection: Connection, steps: readonly Step[]): Promise<void> {
  const done: Step[] = [];
  try {
    for (const step of steps) {
      await carryOutOne(connection, step);
      done.push(step);
    }
  } catch (error) {
    for (const step of done.toReversed()) await putBack(connection, step);
    throw error;
  }
}

async function carryOutOne(connection: Connection, { path, before, after }: Step): Promise<void> {
  if (before === null) {
    await writeFile(connection, path, after ?? Buffer.alloc(0), { exclusive: true, createParents: true });
  } else if (after === null) {
    const now = await statOrNull(connection, path);
    if (now?.version.equals(before.version) !== true) throw new CaissonError('FILE_CHANGED', { path: shown(path), detail: 'it was written meanwhile' });
    await connection.call(REQUEST.remove, { path });
  } else {
    const upload = await openUpload(connection, path, { mode: before.mode & 0o1777 });
    await upload.write(after);
    await upload.commit(before.version);
  }
}

/** As good as it can be done: a file that somebody else has taken meanwhile stays theirs. */
async function putBack(connection: Connection, { path, before }: Step): Promise<void> {
  const back = before === null ? connection.call(REQUEST.remove, { path }) : writeFile(connection, path, before.text, { mode: before.mode & 0o1777 });
  await back.then(() => undefined, () => undefined);
}

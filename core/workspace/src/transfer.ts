import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { CaissonError, type WorkspaceDiff } from '@caisson/contract';
import { parseDiff } from './diff.ts';
import { parseReply, ToolError } from './tool.ts';

const run = promisify(execFile);
const DIFF_TIMEOUT_MS = 300_000;
const MOST_STDERR_BYTES = 16_384;

/** Compares two images that nobody writes; `sinceMs` is when the second parted from the first, if it descends from it. */
export async function compare(binary: string, { a, b, sinceMs, limit }: { readonly a: string; readonly b: string; readonly sinceMs: number | null; readonly limit: number }): Promise<WorkspaceDiff> {
  const since = sinceMs === null ? 0 : Math.max(0, Math.floor(sinceMs / 1000) - 1); // the clock of the file system is a little behind
  const { stdout } = await run(binary, ['diff', a, b, String(since), String(limit)], {
    encoding: 'buffer', env: {}, timeout: DIFF_TIMEOUT_MS, maxBuffer: 128 * 1024 ** 2,
  }).catch((error: NodeJS.ErrnoException & { readonly stderr?: Buffer }) => {
    throw toolErrorIn(error.stderr?.toString() ?? '', error.message);
  });
  return parseDiff(stdout);
}

/** The line with which caisson-store says what went wrong, among what tar said. */
function toolErrorIn(stderr: string, otherwise: string): ToolError {
  const line = stderr.split('\n').find((each) => each.startsWith('error '));
  const said = parseReply(line ?? `error EIO ${otherwise}`);
  return said instanceof ToolError ? said : new ToolError('EPROTO', otherwise);
}

function collected(stream: Readable): () => string {
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (piece: Buffer) => {
    if (bytes > MOST_STDERR_BYTES) return;
    bytes += piece.length;
    pieces.push(piece);
  });
  return () => Buffer.concat(pieces).toString();
}

/** Writes an archive of the image; `release` is called when that is over, however it ends. */
export function pack(binary: string, image: string, subject: string, release: () => Promise<void>): Readable {
  const child = spawn(binary, ['pack', image], { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
  const said = collected(child.stderr);
  const out = new PassThrough();
  const exited = once(child, 'close') as Promise<[number | null]>;
  out.once('close', () => child.kill('SIGKILL'));
  child.stdout.pipe(out, { end: false });
  void exited.then(([status]) => (status === 0 ? out.end() : out.destroy(new CaissonError('WORKSPACE_FAILED', { workspace: subject, detail: `its archive could not be written: ${summary(said())}` }))),
    (error: Error) => out.destroy(error)).finally(() => void release().catch(() => undefined));
  return out;
}

function summary(stderr: string): string {
  return stderr.trim().split('\n').slice(0, 3).join('; ').slice(0, 500) || 'tar was ended';
}

/** Fills the image from an archive, as much of it as fits. @throws CaissonError WORKSPACE_IMPORT_FAILED */
export async function unpack(binary: string, tar: Readable, image: string): Promise<void> {
  const child = spawn(binary, ['unpack', image], { stdio: ['pipe', 'ignore', 'pipe'], env: {} });
  const said = collected(child.stderr);
  const exited = once(child, 'close') as Promise<[number | null]>;
  const [fed, ended] = await Promise.allSettled([
    pipeline(tar, child.stdin).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return; // tar has seen the end of the archive, or says why not
      child.kill('SIGKILL');
      throw error;
    }),
    exited,
  ]);
  const status = ended.status === 'fulfilled' ? ended.value[0] : null;
  if (fed.status === 'fulfilled' && status === 0) return;
  const detail = fed.status === 'rejected' ? String((fed.reason as Error).message) : summary(said());
  throw new CaissonError('WORKSPACE_IMPORT_FAILED', { detail });
}

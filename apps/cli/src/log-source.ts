import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { CaissonError, Receipt } from '@caisson/contract';
import { folderFetch, publishedKeys, readEntries, readTiles, verifyLog, verifyPublished, type Line, type ReadOptions, type Verification, type VerifyOptions } from '@caisson/evidence';
import { parseVerifierKey, SIGNATURE_TYPE, type Fetch, type PublicKey } from '@caisson/tlog';
import { instancePaths } from './client.ts';

/** Where a log is read. */
export interface SourceFlags {
  /** Folder of the evidence. Default: that of the instance. */
  readonly dir?: string | undefined;
  /** An archive of the log: an `archive.json` that says where it is, or the directory that it is in. */
  readonly archive?: string | undefined;
  /** A verifier key of the log, or a file of them. Default: those beside the log; an archive has none beside it. */
  readonly key?: string | undefined;
}

/** A log that can be read, wherever it is. */
export interface LogSource extends Disposable {
  /** For people. */
  readonly where: string;
  readonly keys: readonly PublicKey[];
  verify(options: Pick<VerifyOptions, 'head' | 'visit'>): Promise<Verification>;
  lines(options: ReadOptions): AsyncGenerator<Line>;
}

/** @throws CaissonError USAGE for flags that do not go together, STATE_DIR_INVALID, EVIDENCE_ARCHIVE_INVALID */
export async function openSource({ dir, archive, key }: SourceFlags): Promise<LogSource> {
  const trusted = key === undefined ? undefined : keysOf(key);
  if (archive === undefined) return folderSource(dir ?? instancePaths().evidence, trusted);
  if (dir !== undefined) throw new CaissonError('USAGE', { detail: '--dir and --archive name two logs; give one' });
  if (trusted === undefined) throw new CaissonError('USAGE', { detail: '--archive needs --key: the public key of the log is not in its archive' });
  return archiveSource(resolve(archive), trusted);
}

async function folderSource(dir: string, trusted: readonly PublicKey[] | undefined): Promise<LogSource> {
  return {
    where: dir,
    keys: trusted ?? (await publishedKeys(folderFetch(dir)).catch(() => [])), // whoever reads on is told why
    verify: (options) => verifyLog(dir, { ...options, keys: trusted }),
    lines: (options) => readEntries(dir, options),
    [Symbol.dispose]: () => undefined,
  };
}

async function archiveSource(path: string, keys: readonly PublicKey[]): Promise<LogSource> {
  const { fetchNewest, openStore, parseConfig } = await import('@caisson/archive');
  const text = isFolder(path) ? JSON.stringify({ kind: 'directory', path }) : textIn(path);
  if (text === null) throw new CaissonError('USAGE', { detail: `--archive ${path} cannot be read` });
  const config = parseConfig(text, path);
  const store = await openStore(config, Date.now);
  const fetch = await fetchNewest(store, keys, (of) => heirsOf(of, keys));
  return {
    where: store.name,
    keys,
    verify: (options) => verifyPublished(fetch, { ...options, keys }),
    lines: ({ from, follow }) => {
      if (follow === true) throw new CaissonError('USAGE', { detail: '--follow: an archive is read as it is' });
      return readTiles(fetch, from);
    },
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}

/** The keys that a log goes on to from these; none where it is not good. */
async function heirsOf(fetch: Fetch, keys: readonly PublicKey[]): Promise<readonly PublicKey[]> {
  const { bad, keys: said } = await verifyPublished(fetch, { keys });
  return bad === null ? said.map(parseVerifierKey).filter((key) => key !== null) : [];
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** null: there is no such file, or it is not to be read. */
function textIn(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** The keys of a text or a file, one on each line, that a log can sign by; other lines are passed over. @throws CaissonError USAGE where there is none */
export function keysOf(key: string): readonly PublicKey[] {
  const text = parseVerifierKey(key) === null ? textIn(key) : key;
  const keys = (text ?? '').split('\n').map(parseVerifierKey).filter((one) => one?.type === SIGNATURE_TYPE.ed25519);
  if (keys.length === 0) throw new CaissonError('USAGE', { detail: `--key ${key} is neither a verifier key nor a file of them` });
  return keys as readonly PublicKey[];
}

/** A head that was kept elsewhere, as INDEX:HASH. @throws CaissonError USAGE */
export function headOf(text: string): Receipt {
  const [, index, hash] = /^(0|[1-9][0-9]*):([0-9a-f]{64})$/.exec(text) ?? [];
  const head = Receipt.safeParse({ index: Number(index), hash });
  if (!head.success) throw new CaissonError('USAGE', { detail: `--head ${text} is not INDEX:HASH, as audit verify prints it` });
  return head.data;
}

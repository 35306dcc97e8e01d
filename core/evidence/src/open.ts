import { constants } from 'node:fs';
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CaissonError, type EntryDraft, type Receipt, type Sealed } from '@caisson/contract';
import type { Edge, PublicKey, Signer } from '@caisson/tlog';
import { ClockWatch, type HostClocks } from './clock.ts';
import { diskOf, type Disk } from './disk.ts';
import { FileLog, type Journal } from './file-log.ts';
import { GROUP_TOO, OWNER_ONLY, syncFolder, type Readers } from './folder.ts';
import { journalName } from './journal.ts';
import { logSigner, writePublicKey } from './keys.ts';
import { lockDirectory } from './lock.ts';
import { letGroupRead } from './group.ts';
import { Publisher } from './publisher.ts';
import { checkPast, quickScan, receiptFromTiles, type PastCheck } from './quick-start.ts';
import { LEDGER_FILE, savedLedger, saveLedger } from './saved-ledger.ts';
import { readEntries } from './read.ts';
import { isSame } from './rotation.ts';
import { scanLog, type Scan } from './scan.ts';

/** Tiles and checkpoint follow what is durable by no more than about this. */
const PUBLISH_EVERY_MS = 500;
/** A log of no more entries is read whole at its start: that takes about a quarter of a second. */
const READ_WHOLE_ENTRIES = 8_192;

export interface FileLogOptions {
  /** The evidence directory; made when it is not there. Mode 0700, or 02710 where its group reads what is published. */
  readonly dir: string;
  /** Whether the group of the directory may read what is published: tiles, checkpoint, public keys. Default: nobody else reads. */
  readonly groupReads?: boolean | undefined;
  /** Asked before what is new is recorded, but for outcomes and heartbeats: why nothing may be, or undefined. It is given the number of entries. */
  readonly mayAppend?: ((entries: number) => string | undefined) | undefined;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Clocks that nobody sets, by which `now` is watched: an alert says that it was set. Default: it is not watched. */
  readonly clocks?: Omit<HostClocks, 'wallMs'> | undefined;
  /** Signs heads. Default: a key in a file, in the folder beside `dir` whose name ends in `-key`. */
  readonly signer?: Signer | undefined;
  /** Seals what only holders of a key may read. Default: a draft with a secret is refused. */
  readonly seal?: ((draft: EntryDraft) => Sealed | Promise<Sealed>) | undefined;
  /** How long what is durable may wait for its tiles, in milliseconds. Default 500. */
  readonly publishEveryMs?: number | undefined;
  /** A log of more entries starts from its signed state, and what is before that is checked once it is open. Default 8192. */
  readonly readWholeEntries?: number | undefined;
  /** Told once what was before the state that the log started from has been checked, or could not be. Default: nobody. */
  readonly onPastChecked?: ((check: PastCheck) => void) | undefined;
  /** Default: the file itself. A test puts a disk here that counts or fails. */
  readonly disk?: (file: FileHandle) => Disk;
}

/**
 * Opens the log of a directory for its only writer: takes the lock, takes up the state that the log's key has signed, or else
 * reads and checks the whole log by that key, and moves an append that was never acknowledged to `torn-<timeMs>.bin`.
 *
 * What was not read at the start is read and checked after it, in the background: damage that is found there ends appends with
 * EVIDENCE_DAMAGED, and the next start reads everything.
 *
 * @throws CaissonError EVIDENCE_UNAVAILABLE when the directory or the key cannot be used or another process writes in it.
 * @throws CaissonError EVIDENCE_DAMAGED when an entry is not what was written; nothing is changed then.
 */
export async function openFileLog({ dir, now, disk = diskOf, ...options }: FileLogOptions): Promise<FileLog> {
  const readers = options.groupReads === true ? GROUP_TOO : OWNER_ONLY;
  await using opened = new AsyncDisposableStack();
  try {
    const directory = opened.use(await openDirectory(dir, readers));
    const signer = options.signer ?? (await logSigner(dir));
    const keys = [signer.publicKey];
    const { scan, unread } = await startOf(dir, keys, options.readWholeEntries);
    await writePublicKey(dir, signer.publicKey, readers);
    const first = scan.journal?.first ?? 0;
    const file = opened.use(await openFile(`${dir}/${journalName(first)}`, directory));
    await setTailAside(file, scan.journal, { dir, directory, now });
    // What a killed writer wrote and did not sync is acknowledged from here on, so it must be durable first.
    const journal: Journal = { disk: disk(file), first, wholeBytes: scan.journal?.wholeBytes ?? 0, close: () => file.close() };
    await journal.disk.sync();
    const publisher = new Publisher({ dir, tip: scan.tip, leaves: scan.unpublished, everyMs: options.publishEveryMs ?? PUBLISH_EVERY_MS, readers });
    if (scan.head !== null) publisher.add([], scan.head);
    const nextJournal = async (after: number): Promise<Journal> => {
      const next = await openFile(`${dir}/${journalName(after)}`, directory);
      return { disk: disk(next), first: after, wholeBytes: 0, close: () => next.close() };
    };
    const past = opened.use(pastOf(dir, keys));
    const receiptOf = (size: number, by: readonly PublicKey[]): Promise<Receipt> => receiptFromTiles(dir, by, size);
    const save = (edge: Edge, text: string, by: Signer): Promise<void> => saveLedger(dir, { edge, text, signer: by });
    const { seal, mayAppend } = options;
    const clock = options.clocks && (await watchFrom(dir, { ...options.clocks, wallMs: now }));
    const log = new FileLog({ ...scan, now, clock, signer, journal, publisher, seal, mayAppend, nextJournal, receiptOf, save, unread, resources: opened.move() });
    if (unread > 0) past.check(log, options.onPastChecked);
    return log;
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: (error as Error).message }, { cause: error });
  }
}

/** Watches the clock from the time of the last entry on. */
async function watchFrom(dir: string, clocks: HostClocks): Promise<ClockWatch> {
  let lastMs: number | null = null;
  for await (const { entry } of readEntries(dir, { last: 1 })) lastMs = entry.timeMs;
  return new ClockWatch(clocks, lastMs);
}

/** The state of the log, from what is signed about it where that is enough, else from every entry. @throws CaissonError EVIDENCE_DAMAGED */
async function startOf(dir: string, keys: readonly PublicKey[], readWholeEntries = READ_WHOLE_ENTRIES): Promise<{ readonly scan: Scan; readonly unread: number }> {
  const known = (await savedLedger(dir, keys)) ?? undefined;
  const quick = known === undefined || known.size <= readWholeEntries ? null : await quickScan(dir, keys, known);
  if (quick !== null) return { scan: signedBy(quick, keys), unread: known?.size ?? 0 };
  const scan = await scanLog(dir, keys, { known });
  if (scan.bad !== null) throw new CaissonError('EVIDENCE_DAMAGED', { index: scan.bad.index, detail: scan.bad.reason });
  return { scan: signedBy(scan, keys), unread: 0 };
}

/** A key that has handed on to another signs no more. @throws CaissonError EVIDENCE_UNAVAILABLE */
function signedBy(scan: Scan, keys: readonly PublicKey[]): Scan {
  const { heir } = scan.trust;
  if (heir === undefined || keys.some((key) => isSame(key, heir))) return scan;
  throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: `the key that is here was replaced: ${heir.name}+${heir.id} signs the log` });
}

interface Past extends AsyncDisposable {
  /** Reads in the background what the start has not read, and ends the appends of the log at what is bad. */
  readonly check: (log: FileLog, onChecked: FileLogOptions['onPastChecked']) => void;
}

function pastOf(dir: string, keys: readonly PublicKey[]): Past {
  const stop = new AbortController();
  let checking: Promise<unknown> | undefined;
  const check = async (log: FileLog, onChecked: FileLogOptions['onPastChecked']): Promise<void> => {
    const found = await checkPast(dir, keys, stop.signal);
    if (found === null) return;
    if ('bad' in found) {
      log.stopAt(found.bad);
      await rm(`${dir}/${LEDGER_FILE}`, { force: true }).catch(() => undefined);
    }
    onChecked?.(found);
  };
  return {
    check: (log, onChecked) => void (checking = check(log, onChecked)),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await checking;
    },
  };
}

/** Opens the directory, and takes its lock, which goes with the handle. */
async function openDirectory(dir: string, readers: Readers): Promise<FileHandle> {
  const made = await mkdir(dir, { recursive: true, mode: 0o700 });
  if (made !== undefined) await syncFolder(dirname(made));
  const directory = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  await closeToOthers(directory, readers === GROUP_TOO ? 0o2710 : 0o700);
  try {
    await lockDirectory(directory, dir);
    if (readers === GROUP_TOO) await letGroupRead(dir, (await directory.stat()).gid);
    return directory;
  } catch (error) {
    await directory.close();
    throw error;
  }
}

async function openFile(path: string, directory: FileHandle): Promise<FileHandle> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  await closeToOthers(file, 0o600);
  await directory.sync();
  return file;
}

async function closeToOthers(file: FileHandle, mode: number): Promise<void> {
  try {
    if (((await file.stat()).mode & 0o7777) !== mode) await file.chmod(mode);
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Aside {
  readonly dir: string;
  readonly directory: FileHandle;
  /** Asked only when there is something to set aside. */
  readonly now: () => number;
}

/** The bytes are durable in their own file before the log is cut, so that a crash between the two loses nothing. */
async function setTailAside(file: FileHandle, journal: Scan['journal'], { dir, directory, now }: Aside): Promise<void> {
  if (journal === null || journal.tail.length === 0) return;
  const timeMs = now();
  const { tail, wholeBytes } = journal;
  await using torn = await createUnused((attempt) => `${dir}/torn-${Math.trunc(timeMs) + attempt}.bin`);
  await torn.writeFile(tail);
  await torn.sync();
  await directory.sync();
  await file.truncate(wholeBytes);
}

async function createUnused(path: (attempt: number) => string): Promise<FileHandle> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await open(path(attempt), 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

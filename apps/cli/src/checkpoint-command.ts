import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { folderFetch, KEYS_FILE, publishedKeys, verifyLog } from '@caisson/evidence';
import { compareReplay, createCheckpoint, openCheckpointFile, type StateCheckpoint } from '@caisson/projection';
import { parseSignerKey, parseVerifierKey, signerOf, signNote, SIGNATURE_TYPE, type PublicKey, type Signer } from '@caisson/tlog';
import { indexOf, judged, logDir, replayLog, replayTo, trustedKeys, type LogFlags, type TrustFlags } from './replay-state.ts';
import { jsonText, print } from './say.ts';

export interface CreateFlags extends LogFlags {
  /** File of the private key of the log. Default: where the scribe keeps that of the log in `dir`. */
  readonly key?: string;
  readonly out?: string;
  readonly until?: string;
}

export interface VerifyFlags extends TrustFlags {
  readonly full?: boolean;
}

/** Signs the state of a log. @returns 0, or 1 where the log is damaged */
export async function checkpointCreate(flags: CreateFlags): Promise<number> {
  return judged(flags, async () => {
    const signer = readSigner(flags.key ?? `${resolve(logDir(flags))}-key/log.key`);
    const { state, root } = await replayTo({ ...flags, key: undefined }, '--until', indexOf('--until', flags.until));
    if (root === null) throw new CaissonError('USAGE', { detail: 'the log is empty: there is no entry to make a checkpoint at' });
    const { name, bytes } = await createCheckpoint({ state, origin: signer.publicKey.name, root, timeMs: Date.now(), sign: (text) => signNote(text, [signer]) });
    const path = join(flags.out ?? '.', name);
    usage(() => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600, flush: true }));
    if (flags.json === true) print(`${jsonText({ path, entry: state.entries - 1, root, bytes: bytes.length })}\n`);
    else print(`${path}\n`);
    return 0;
  });
}

/** Checks a checkpoint: its signature and state, and with --full against the log. @returns 0 good, 1 bad */
export async function checkpointVerify(path: string, flags: VerifyFlags): Promise<number> {
  return judged(flags, async () => {
    const keys = trustedKeys(flags) ?? (await keysBeside(logDir(flags)));
    const { opened, isFull } = await openFollowed(usage(() => readFileSync(path)), keys, flags);
    const bad = 'bad' in opened ? opened.bad : isFull ? await compare(opened, keys, flags) : null;
    const facts = 'bad' in opened ? null : opened.facts;
    const checked = isFull ? 'signature, state and log' : 'signature and state';
    if (flags.json === true) print(`${jsonText({ verdict: bad === null ? 'good' : 'bad', bad, checked, facts })}\n`);
    else if (bad === null && facts !== null) print(`good: entry ${facts.index} of ${jsonText(facts.origin).slice(1, -1)}, state ${facts.stateHash} (${checked} checked${isFull ? '' : '; --full replays the log'})\n`);
    else print(`BAD: ${jsonText(bad).slice(1, -1)}\n`);
    return bad === null ? 0 : 1;
  });
}

type Opened = ReturnType<typeof openCheckpointFile>;

/**
 * Opens a checkpoint by the keys that are trusted, or by another key of the log that these lead to. Such a key may have been replaced,
 * and be in the hands of others since: what it has signed counts only against the log.
 */
async function openFollowed(file: Buffer, keys: readonly PublicKey[], flags: VerifyFlags): Promise<{ readonly opened: Opened; readonly isFull: boolean }> {
  const opened = openCheckpointFile(file, keys);
  const isFull = flags.full === true;
  const bySome = openCheckpointFile(file, await publishedKeys(folderFetch(logDir(flags))).catch(() => []));
  if (!('bad' in opened) || 'bad' in bySome) return { opened, isFull };
  const { bad, keys: said } = await verifyLog(logDir(flags), { keys });
  if (bad !== null) return { opened, isFull };
  return { opened: openCheckpointFile(file, said.map(parseVerifierKey).filter((key) => key !== null)), isFull: true };
}

async function compare(checkpoint: StateCheckpoint, keys: readonly PublicKey[], flags: VerifyFlags): Promise<string | null> {
  return compareReplay(checkpoint, await replayLog(logDir(flags), { until: checkpoint.facts.index, keys }));
}

/** The key of a file that nobody but its owner may read. @throws CaissonError USAGE */
function readSigner(path: string): Signer {
  const mode = usage(() => statSync(path)).mode & 0o777;
  if ((mode & 0o077) !== 0) throw new CaissonError('USAGE', { detail: `--key ${path}: others than its owner may use this file (mode ${mode.toString(8)}); a key that others have signs nothing` });
  const key = parseSignerKey(usage(() => readFileSync(path, 'utf8')));
  if (key === null || key.type !== SIGNATURE_TYPE.ed25519) throw new CaissonError('USAGE', { detail: `--key ${path}: it holds no Ed25519 key for notes` });
  return signerOf(key);
}

/** The keys that stand beside the log. @throws CaissonError STATE_DIR_INVALID where there are none */
async function keysBeside(dir: string): Promise<readonly PublicKey[]> {
  const keys = await publishedKeys(folderFetch(dir));
  if (keys.length === 0) throw new CaissonError('STATE_DIR_INVALID', { dir, detail: `it holds no evidence log (${KEYS_FILE}): give the key of the log by --key` });
  return keys;
}

function usage<Value>(use: () => Value): Value {
  try {
    return use();
  } catch (cause) {
    throw new CaissonError('USAGE', { detail: (cause as Error).message }, { cause });
  }
}

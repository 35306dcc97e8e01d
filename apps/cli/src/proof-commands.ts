import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CaissonError } from '@caisson/contract';
import { folderFetch, heirOf, parseEntry, publishedKeys } from '@caisson/evidence';
import {
  cosignedAtMs, formatProof, inclusionProof, leafHash, openCheckpoint, parseProof, parseVerifierKey, provesInclusion, readBundle, SIGNATURE_TYPE, TILE_WIDTH, TileError, tileTree,
  type Fetch, type PublicKey, type SignedCheckpoint,
} from '@caisson/tlog';
import { instancePaths } from './client.ts';
import { note, print } from './say.ts';

/** Longest file of a proof or of keys that is read. A proof has a checkpoint, at most 63 hashes and one entry. */
const MAX_PROOF_BYTES = 1024 * 1024;

/** What is wrong with the evidence, or the text of the proof. */
type Proven = { readonly bad: string } | { readonly good: string };

/**
 * A C2SP tlog-proof of the entry at `index`, with its bytes as extra data, from the published resources of a log. It reads
 * the head, one bundle and a few tiles. Nothing that it says is taken for granted: what is made here also verifies here.
 *
 * @throws CaissonError USAGE for an index that the log has not. Rejects with TileError for a resource that is missing.
 */
export async function proveEntry(fetch: Fetch, index: number, keys: readonly PublicKey[]): Promise<Proven> {
  const bytes = await fetch('checkpoint');
  if (bytes === null) return { bad: 'checkpoint: is missing' };
  const head = openCheckpoint(bytes, { logKeys: keys });
  if ('bad' in head) return { bad: `checkpoint: ${head.bad}` };
  if (index >= head.size) throw new CaissonError('USAGE', { detail: `audit prove: the log has ${head.size} entries, the first of them 0` });
  const [hashes, bundle] = await Promise.all([inclusionProof(tileTree(fetch, head.size), index, head.size), readBundle(fetch, head.size, Math.floor(index / TILE_WIDTH))]);
  const entry = bundle[index % TILE_WIDTH] as Buffer;
  if (!provesInclusion({ index, size: head.size, root: head.root, leaf: leafHash(entry), proof: hashes })) return { bad: `entry ${index}: is not what the head was made of, or a tile on the way is not` };
  return { good: formatProof({ index, hashes, checkpoint: bytes.toString('utf8'), extra: entry }) };
}

/** Checks a proof without the log. `good` is the entry. */
export function checkProof(text: string, logKeys: readonly PublicKey[], witnesses: readonly PublicKey[]): { readonly bad: string } | { readonly good: Buffer; readonly index: number; readonly head: SignedCheckpoint } {
  const proof = parseProof(text);
  if ('bad' in proof) return proof;
  const { index, hashes, extra } = proof;
  if (extra === undefined) return { bad: 'holds no entry' };
  const head = openCheckpoint(Buffer.from(proof.checkpoint), { logKeys, witnesses });
  if ('bad' in head) return { bad: `its checkpoint ${head.bad}` };
  if (!logKeys.some(({ name }) => name === head.origin)) return { bad: `its checkpoint is of the log ${head.origin}` };
  const silent = witnesses.find((witness) => !head.note.signers.includes(witness));
  if (silent !== undefined) return { bad: `the witness ${silent.name} has not signed its checkpoint` };
  if (!provesInclusion({ index, size: head.size, root: head.root, leaf: leafHash(extra), proof: hashes })) return { bad: `does not show that its entry is entry ${index} of the log` };
  return { good: extra, index, head };
}

export async function prove(entry: string, flags: { readonly dir?: string; readonly out?: string }): Promise<number> {
  const index = Number(entry);
  if (!/^(0|[1-9][0-9]*)$/.test(entry) || !Number.isSafeInteger(index)) throw new CaissonError('USAGE', { detail: `audit prove: ${entry} is not the number of an entry` });
  const fetch = folderFetch(flags.dir ?? instancePaths().evidence);
  const made = await proveEntry(fetch, index, await publishedKeys(fetch)).catch((error: unknown) => {
    if (error instanceof TileError) return { bad: error.message };
    throw error;
  });
  if ('bad' in made) return told(made.bad);
  if (flags.out === undefined) print(made.good);
  else await writeFile(flags.out, made.good, { flag: 'wx' });
  return 0;
}

export async function check(file: string, flags: { readonly key?: string; readonly witness?: readonly string[]; readonly rotation?: readonly string[] }): Promise<number> {
  const led = await followed(await keysOf(flags.key), flags.rotation ?? []);
  if ('bad' in led) return told(led.bad);
  const { logKeys } = led;
  const witnesses = (flags.witness ?? []).flatMap((text) => keysIn(text, '--witness', SIGNATURE_TYPE.cosignature));
  const checked = checkProof(await textOf(file), logKeys, witnesses);
  if ('bad' in checked) return told(`${file} ${checked.bad}`);
  const { head, index, good } = checked;
  const seen = head.note.signatures.flatMap((signature) => witnesses.filter(({ id, name }) => id === signature.id && name === signature.name).map(({ name }) => `; seen by ${name} at ${new Date(cosignedAtMs(signature)).toISOString()}`));
  note(`entry ${index} of ${head.size} in the log ${head.origin}${seen.join('')}`);
  print(`${shown(good)}\n`);
  return 0;
}

/** Goes over from key to key by proofs of the entries that hand on, in their order; the keys before stay good for what they have signed. */
async function followed(keys: readonly PublicKey[], files: readonly string[]): Promise<{ readonly bad: string } | { readonly logKeys: readonly PublicKey[] }> {
  let logKeys = keys;
  for (const file of files) {
    const proof = parseProof(await textOf(file));
    const entry = 'bad' in proof || proof.extra === undefined ? null : parseEntry(proof.extra);
    if (entry === null || 'bad' in entry) return { bad: `${file} proves no entry` };
    const next = heirOf(entry, logKeys);
    if ('bad' in next) return { bad: `${file} ${next.bad}` };
    logKeys = [...logKeys, next.to];
  }
  return { logKeys };
}

async function keysOf(key: string | undefined): Promise<readonly PublicKey[]> {
  if (key !== undefined && parseVerifierKey(key) !== null) return keysIn(key, '--key');
  if (key !== undefined) return keysIn(await textOf(key), '--key');
  note('the key is the one of this machine; --key takes one from elsewhere');
  const keys = await publishedKeys(folderFetch(instancePaths().evidence));
  return keys.length > 0 ? keys : keysIn('', 'log.vkey');
}

/** The keys of a text, one on each line. @throws CaissonError USAGE */
function keysIn(text: string, what: string, type: PublicKey['type'] = SIGNATURE_TYPE.ed25519): readonly PublicKey[] {
  const keys = text.split('\n').filter((line) => line !== '').map(parseVerifierKey);
  if (keys.length === 0 || !keys.every((key) => key?.type === type)) throw new CaissonError('USAGE', { detail: `audit: ${what} holds no verifier key, or not of the kind that is meant` });
  return keys as PublicKey[];
}

/** @throws CaissonError USAGE */
async function textOf(path: string): Promise<string> {
  try {
    const bytes = await folderFetch('/')(resolve(path));
    if (bytes === null || bytes.length > MAX_PROOF_BYTES) throw new Error(bytes === null ? 'there is no such file' : 'it is too long');
    return bytes.toString('utf8');
  } catch (cause) {
    throw new CaissonError('USAGE', { detail: `audit: ${path}: ${(cause as Error).message}` }, { cause });
  }
}

function told(bad: string): number {
  print(`bad: ${shown(Buffer.from(bad))}\n`);
  return 1;
}

/** Text that cannot drive a terminal or reorder its line: such characters stand as their JSON escapes. */
function shown(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) => found.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''));
}

import type { AlertName, Entry, EntryDraft, Json } from '@caisson/contract';
import { formatCheckpoint, formatVerifierKey, openCheckpoint, parseVerifierKey, rootOf, SIGNATURE_TYPE, signNote, type Edge, type PublicKey, type Refusal, type Signer } from '@caisson/tlog';

/** Kind and subject of the entry that says that another key signs from here on. */
const KIND = 'alert';
const SUBJECT = 'key.rotated';
/** What it is called among alerts. */
const ALERT: AlertName = 'key-rotated';

/** Whether an entry has the place of a rotation, which only the scribe itself records. */
export function isRotation({ kind, subject }: Pick<EntryDraft, 'kind' | 'subject'>): boolean {
  return kind === KIND && subject === SUBJECT;
}

/**
 * The entry that makes `to` the key of a log of this edge. Its body holds a checkpoint of all entries before it, with one
 * extension line that names the new key (C2SP tlog-checkpoint, Note text), signed by the old key and by the new one: whoever
 * trusts the old key can follow, and nobody can name a key that he has not.
 */
export async function rotationDraft(edge: Edge, from: Signer, to: Signer): Promise<Omit<EntryDraft, 'secret'>> {
  const origin = from.publicKey.name;
  if (to.publicKey.name !== origin || to.publicKey.id === from.publicKey.id) throw new RangeError('a key hands on to another of its name');
  const texts = { from: formatVerifierKey(from.publicKey), to: formatVerifierKey(to.publicKey) };
  const head = await signNote(formatCheckpoint({ origin, size: edge.size, root: rootOf(edge), extensions: [`key ${texts.to}`] }), [from, to]);
  const reason = 'another key signs the log from here on: give it to who verifies the log';
  return { kind: KIND, source: 'scribe', subject: SUBJECT, body: { alert: ALERT, severity: 'info', about: ['evidence'], reason, ...texts, head } };
}

/** Who hands on to whom. */
export interface Rotation {
  readonly from: PublicKey;
  readonly to: PublicKey;
}

/**
 * The rotation that an entry is; null: it has not the place of one. Of that place nothing else is good: both keys have to have
 * signed it for the log of this edge, so that one that was made for another place, or another log, is bad here.
 *
 * @param edge of all entries before it
 */
export function readRotation(entry: Pick<Entry, 'kind' | 'subject' | 'body'>, edge: Edge): Rotation | Refusal | null {
  return isRotation(entry) ? rotationBy(entry, { size: edge.size, root: rootOf(edge) }) : null;
}

/** A tree: all entries before one. */
interface Tree {
  readonly size: number;
  readonly root: Buffer;
}

function rotationBy(entry: Pick<Entry, 'kind' | 'subject' | 'body'>, tree: Tree): Rotation | Refusal | null {
  if (!isRotation(entry)) return null;
  const { from: fromText, to: toText, head } = (entry.body ?? {}) as Readonly<Record<string, Json | undefined>>;
  const [from, to] = [keyOf(fromText), keyOf(toText)];
  if (from === null || to === null || typeof head !== 'string') return { bad: 'hands on to another key without naming both' };
  if (from.id === to.id || from.name !== to.name) return { bad: 'hands on to the same key, or to one of another log' };
  for (const key of [from, to]) {
    const reason = unsignedBy(key, head, { tree, extension: `key ${toText as string}` });
    if (reason !== null) return { bad: `hands on to another key by a checkpoint that ${reason}` };
  }
  return { from, to };
}

function keyOf(text: Json | undefined): PublicKey | null {
  const key = typeof text === 'string' ? parseVerifierKey(text) : null;
  return key?.type === SIGNATURE_TYPE.ed25519 && formatVerifierKey(key) === text ? key : null;
}

function unsignedBy(key: PublicKey, head: string, { tree, extension }: { readonly tree: Tree; readonly extension: string }): string | null {
  const opened = openCheckpoint(Buffer.from(head), { logKeys: [key] });
  if ('bad' in opened) return opened.bad;
  const { origin, size, root, extensions = [] } = opened;
  if (origin !== key.name || size !== tree.size || !root.equals(tree.root)) return 'is not of all entries before it';
  return extensions.join('\n') === extension ? null : 'names another key';
}

/** Whose signature counts, as far as a log has been read. */
export interface Trust {
  /** Keys that are trusted from elsewhere, or the one that these have handed on to. */
  readonly keys: readonly PublicKey[];
  /** The key that signs since the last rotation, trusted or not; undefined: there was none yet. */
  readonly heir?: PublicKey | undefined;
  /** Every key that the log had before, the last first. */
  readonly earlier: readonly PublicKey[];
  /** All entries before the last rotation of a trusted key, which both keys have signed. */
  readonly proven?: Edge | undefined;
}

export const isSame = (one: PublicKey, other: PublicKey): boolean => one.name === other.name && one.id === other.id && one.key.equals(other.key);

const has = (keys: readonly PublicKey[], key: PublicKey): boolean => keys.some((each) => isSame(each, key));

/** Who may sign a head here. A key that was replaced may not, also where it is trusted. */
export function signersOf({ keys, heir }: Trust): readonly PublicKey[] {
  return heir === undefined ? keys : keys.filter((key) => isSame(key, heir));
}

/** Follows a rotation at the end of a log of this edge. */
export function handOn(trust: Trust, { from, to }: Rotation, edge: Edge): Trust | Refusal {
  const { keys, heir, earlier } = trust;
  if (heir !== undefined && !isSame(heir, from)) return { bad: 'hands on from a key that does not sign here any more, or never did' };
  const isOurs = has(keys, from) || has(keys, to);
  return { keys: isOurs ? [to] : keys, heir: to, earlier: [from, ...earlier], proven: isOurs ? edge : trust.proven };
}

/** Whether a rotation leads from keys that are not trusted to one that is: it has signed all entries before. */
export function isVouchedFor({ keys }: Trust, { to }: Rotation): boolean {
  return has(keys, to);
}

/**
 * The key that an entry hands on to from one of these, by itself: its head is signed by both. Nothing is said of the log before it.
 * Who has the entry alone needs no proof that it is in the log: the old key has said who signs after it.
 */
export function heirOf(entry: Pick<Entry, 'index' | 'kind' | 'subject' | 'body'>, keys: readonly PublicKey[]): Rotation | Refusal {
  const { head } = (entry.body ?? {}) as Readonly<Record<string, Json | undefined>>;
  const said = typeof head === 'string' ? openCheckpoint(Buffer.from(head), { logKeys: keys }) : { bad: 'is no rotation' };
  if ('bad' in said) return { bad: isRotation(entry) && typeof head === 'string' ? `hands on by a head that ${said.bad}` : 'is no rotation' };
  const { size, root } = said;
  if (size !== entry.index) return { bad: 'hands on by a head that is not of all entries before it' };
  const rotation = rotationBy(entry, { size, root });
  if (rotation === null) return { bad: 'is no rotation' };
  return 'bad' in rotation || has(keys, rotation.from) ? rotation : { bad: 'hands on from a key that is not trusted' };
}

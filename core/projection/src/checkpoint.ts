import { createHash } from 'node:crypto';
import { openNote, SIGNATURE_TYPE, type PublicKey } from '@caisson/tlog';
import { parseState, stateBytes } from './bytes.ts';
import type { State } from './state.ts';

/** First line of the text. No head of a log begins so, and its second line is no count: a signature of one never stands for the other. */
const FIRST_LINE = 'caisson state checkpoint v1';
const FILE_MOST_BYTES = 256 * 1024 * 1024;

export interface Facts {
  /** Names the log. */
  readonly origin: string;
  /** The last entry that is folded. */
  readonly index: number;
  /** Root of the log of `index + 1` entries, hex: its hash at that entry. */
  readonly root: string;
  readonly stateBytes: number;
  /** SHA-256 of the bytes of the state, hex. */
  readonly stateHash: string;
  /** When it was made, in milliseconds since 1970 UTC. */
  readonly timeMs: number;
}

/** A state, signed with all that is said of it, as one file. */
export interface StateCheckpoint {
  readonly facts: Facts;
  readonly state: State;
}

export interface Making {
  readonly state: State;
  readonly origin: string;
  /** Root of the log at the last entry that is folded, hex. */
  readonly root: string;
  readonly timeMs: number;
  /** Gives the text as a signed note (C2SP signed-note). Whoever holds the key does it. */
  readonly sign: (text: string) => Promise<string>;
}

/**
 * Makes the file of a checkpoint: the signed note and the bytes of the state, and nothing beside them that is not signed.
 *
 * @throws RangeError for the state of an empty log, or an origin that is not one line
 */
export async function createCheckpoint({ state, origin, root, timeMs, sign }: Making): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  if (state.entries === 0) throw new RangeError('an empty log has no entry to make a checkpoint at');
  const bytes = stateBytes(state);
  const facts: Facts = { origin, index: state.entries - 1, root, stateBytes: bytes.length, stateHash: hashOf(bytes), timeMs };
  const text = formatFacts(facts);
  if (parseFacts(text) === null) throw new RangeError('facts that cannot be those of a checkpoint');
  const note = await sign(text);
  return { name: checkpointName(facts), bytes: fileOf(note, bytes) };
}

function fileOf(note: string, state: Buffer): Buffer {
  return Buffer.from(`${JSON.stringify({ version: 1, note, state: state.toString('base64') })}\n`);
}

/** cp_INDEX_HASH8.json, of the state's hash. */
function checkpointName({ index, stateHash }: Facts): string {
  return `cp_${index}_${stateHash.slice(0, 8)}.json`;
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function formatFacts({ origin, index, root, stateBytes: length, stateHash, timeMs }: Facts): string {
  return `${FIRST_LINE}\norigin ${origin}\nentry ${index}\ntree ${index + 1} ${root}\nstate ${length} ${stateHash}\ntime ${timeMs}\n`;
}

const COUNT = '(0|[1-9][0-9]{0,15})';
const HASH = '([0-9a-f]{64})';
const TEXT = new RegExp(`^${FIRST_LINE}\\norigin ([^\\n]{1,256})\\nentry ${COUNT}\\ntree ${COUNT} ${HASH}\\nstate ${COUNT} ${HASH}\\ntime ${COUNT}\\n$`, 'u');

function parseFacts(text: string): Facts | null {
  const [, origin, index, size, root, length, stateHash, timeMs] = TEXT.exec(text) ?? [];
  if (origin === undefined || root === undefined || stateHash === undefined) return null;
  const facts = { origin, index: Number(index), root, stateBytes: Number(length), stateHash, timeMs: Number(timeMs) };
  return Number(size) === facts.index + 1 && formatFacts(facts) === text ? facts : null;
}

/**
 * Opens the file of a checkpoint for who trusts these keys: one of them has signed the text, and the state is the one that the
 * text tells of. That the state follows from the log only a replay shows.
 */
export function openCheckpointFile(file: Buffer, trusted: readonly PublicKey[]): StateCheckpoint | { readonly bad: string } {
  const read = readFile(file);
  if ('bad' in read) return read;
  const note = openNote(Buffer.from(read.note), trusted.filter(({ type }) => type === SIGNATURE_TYPE.ed25519));
  if ('bad' in note) return { bad: `its note ${note.bad}` };
  const facts = parseFacts(note.text);
  if (facts === null) return { bad: 'what is signed is no checkpoint of a state' };
  if (read.state.length !== facts.stateBytes) return { bad: `its state has ${read.state.length} bytes, not the ${facts.stateBytes} that are signed` };
  if (hashOf(read.state) !== facts.stateHash) return { bad: 'its state is not the one that is signed' };
  const state = parseState(read.state);
  if ('bad' in state) return { bad: `its state ${state.bad}` };
  if (state.entries !== facts.index + 1) return { bad: `its state is that of ${state.entries} entries, not of ${facts.index + 1}` };
  return { facts, state };
}

function readFile(file: Buffer): { readonly note: string; readonly state: Buffer } | { readonly bad: string } {
  if (file.length > FILE_MOST_BYTES) return { bad: `is longer than ${FILE_MOST_BYTES} bytes` };
  let json: unknown;
  try {
    json = JSON.parse(file.toString('utf8'));
  } catch {
    return { bad: 'is not JSON' };
  }
  const { note, state } = (json ?? {}) as { readonly note?: unknown; readonly state?: unknown };
  if (typeof note !== 'string' || typeof state !== 'string') return { bad: 'has no note and state' };
  const bytes = Buffer.from(state, 'base64');
  return fileOf(note, bytes).equals(file) ? { note, state: bytes } : { bad: 'has other fields or another form than a checkpoint' };
}

/** What of a checkpoint does not hold against the log that was replayed up to its entry; null: it holds. */
export function compareReplay({ facts }: StateCheckpoint, replayed: { readonly state: State; readonly root: string | null }): string | null {
  if (replayed.state.entries !== facts.index + 1) return `the log has ${replayed.state.entries} entries, fewer than the ${facts.index + 1} of the checkpoint: it was cut or rolled back`;
  if (replayed.root !== facts.root) return 'the log has another root at that entry: it was rewritten, or is another log';
  return hashOf(stateBytes(replayed.state)) === facts.stateHash ? null : 'the state that follows from the log is another';
}

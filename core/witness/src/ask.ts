import { consistencyProof, cosignedAtMs, formatSignature, openNote, parseCheckpoint, parseNote, tileTree, TileError, type Checkpoint, type Fetch, type PublicKey } from '@caisson/tlog';
import { formatRequest, MAX_BODY_BYTES, parseSize, SIZE_TYPE } from './message.ts';

/** A witness as who asks it is told of it. */
export interface WitnessPlace {
  /** Its submission prefix, without `/add-checkpoint`. */
  readonly url: string;
  readonly publicKey: PublicKey;
  /** For all that is asked of it for one head, in milliseconds. */
  readonly timeoutMs: number;
}

export interface AskedHead {
  /** Reads the tiles of the log, which have to be there for the size of the checkpoint. */
  readonly fetch: Fetch;
  /** The signed note, byte for byte. */
  readonly checkpoint: Buffer;
  /** Size that the witness has signed last, where it is known: it saves a question. Default 0. */
  readonly knownSize?: number;
}

/**
 * What came of it. `line` is the cosignature, to be put behind the checkpoint as it is. `refused`: the witness will not sign,
 * or what it sent is no signature of its key. `away`: no answer, ask again later. `alarm`: the witness says that it has seen
 * another log of this name, a larger one (`rollback`) or one that this is no continuation of (`fork`). An alarm is the
 * witness's word, which it cannot prove here.
 */
export type WitnessAnswer =
  | { readonly line: string; readonly timeMs: number }
  | { readonly refused: string }
  | { readonly away: string }
  | { readonly alarm: 'fork' | 'rollback'; readonly witnessSize: number };

/** The witness may sign for others of the same log between two questions; then its size is another. */
const MAX_QUESTIONS = 4;

/** Asks one witness for its cosignature of a head (C2SP tlog-witness, add-checkpoint). Never rejects. */
export async function askWitness(witness: WitnessPlace, head: AskedHead): Promise<WitnessAnswer> {
  const note = parseNote(head.checkpoint);
  const own = 'bad' in note ? note : parseCheckpoint(note.text);
  if ('bad' in own || 'bad' in note) return { refused: `the checkpoint ${'bad' in own ? own.bad : ''}` };
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), witness.timeoutMs);
  const late = new Promise<WitnessAnswer>((done) => end.signal.addEventListener('abort', () => done({ away: `no answer within ${witness.timeoutMs} ms` })));
  try {
    return await Promise.race([late, converse({ witness, head, own, text: note.text, signal: end.signal }).catch(failed)]);
  } finally {
    clearTimeout(timer);
    end.abort();
  }
}

function failed(error: unknown): WitnessAnswer {
  if (error instanceof TileError) return { refused: `the log itself cannot be read: ${error.message}` };
  const { message, cause } = error as Error;
  return { away: cause instanceof Error ? `${message}: ${cause.message}` : message };
}

interface Conversation {
  readonly witness: WitnessPlace;
  readonly head: AskedHead;
  readonly own: Checkpoint;
  readonly text: string;
  readonly signal: AbortSignal;
}

async function converse(given: Conversation): Promise<WitnessAnswer> {
  const { head, own } = given;
  let old = Math.min(head.knownSize ?? 0, own.size);
  for (let question = 0; question < MAX_QUESTIONS; question += 1) {
    const proof = await consistencyProof(tileTree(head.fetch, own.size), old, own.size);
    const answer = await post(given, formatRequest({ old, proof, checkpoint: head.checkpoint }));
    if (answer.status !== 409) return conclude(given, answer, old);
    const size = answer.type === SIZE_TYPE ? parseSize(answer.body.toString('latin1').replace(/\n$/, '')) : null;
    if (size === null) return { refused: 'it does not say which size it has' };
    if (size > own.size) return { alarm: 'rollback', witnessSize: size };
    if (size === old) return size === own.size ? { alarm: 'fork', witnessSize: size } : { refused: `it has size ${size}, and refuses a proof from there` };
    old = size;
  }
  return { away: 'its size changed with every question' };
}

interface Got {
  readonly status: number;
  readonly type: string | null;
  readonly body: Buffer;
}

async function post({ witness, signal }: Conversation, body: Buffer): Promise<Got> {
  const response = await fetch(`${witness.url.replace(/\/$/, '')}/add-checkpoint`, { method: 'POST', body: new Uint8Array(body), redirect: 'error', signal });
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new RangeError(`an answer of more than ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return { status: response.status, type: response.headers.get('content-type'), body: Buffer.concat(parts) };
}

function conclude({ witness: { publicKey }, text }: Conversation, { status, body }: Got, old: number): WitnessAnswer {
  if (status === 422) return { alarm: 'fork', witnessSize: old };
  if (status >= 500) return { away: `it answers with the status ${status}` };
  if (status !== 200) return { refused: `it answers with the status ${status}: ${body.toString('utf8', 0, 200).trim()}` };
  const opened = openNote(Buffer.concat([Buffer.from(`${text}\n`), body]), [publicKey]);
  if ('bad' in opened) return { refused: `what it answers ${opened.bad}` };
  // An empty line in the answer would make it part of another text, which the witness could have signed.
  if (opened.text !== text) return { refused: 'what it answers is more than signature lines' };
  const signature = opened.signatures.find(({ id, name }) => id === publicKey.id && name === publicKey.name);
  return signature === undefined ? { refused: 'what it answers has no signature of its key' } : { line: formatSignature(signature), timeMs: cosignedAtMs(signature) };
}

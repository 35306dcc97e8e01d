import { addressOfBytes } from './address.ts';
import { Cursor } from './cursor.ts';

/** Types of records that are asked for, or that lead to them (RFC 1035 §3.2.2, RFC 3596 §2.1). */
export const RECORD = { a: 1, aaaa: 28 } as const;
const CNAME = 5;
const OPT = 41;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
const FLAG = { response: 0x8000, opcode: 0x7800, truncated: 0x0200, recursionDesired: 0x0100 } as const;
const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
/** Names that may lead from the one that was asked to the one that has addresses. */
const CHAIN_MOST = 16;
/** Records of one answer, and pointers of one name: what bounds the work that an answer makes. Far fewer lead to addresses that are looked at. */
const RECORDS_MOST = 64;
const POINTERS_MOST = 127;
/** Questions are as long as the next multiple of this, so that their length does not tell the name (RFC 8467 §4.1). */
const PADDED_BYTES = 128;
const OPTION_PADDING = 12;
const UDP_PAYLOAD_BYTES = 1_232;
/** A time to live with its highest bit set is none (RFC 2181 §8). */
const TTL_SECONDS_MAX = 0x7fff_ffff;

export interface Question {
  /** As a host name is written: small letters, no dot at its end. */
  readonly name: string;
  readonly type: (typeof RECORD)[keyof typeof RECORD];
}

/** What a server said of one question. */
export type ServerAnswer =
  | { readonly records: readonly { readonly address: string; readonly ttl: number }[] }
  /** There is no such name, or it has no such address. */
  | { readonly absent: 'ENOTFOUND' | 'ENODATA' }
  /** What came is no answer to the question, or says that this server does not answer it. */
  | { readonly refused: string };

/** Response codes (RFC 1035 §4.1.1): those that answer, and what the others are called. */
const CODE = { none: 0, noSuchName: 3 } as const;
const CODES: Readonly<Record<number, string>> = { 1: 'EFORMERR', 2: 'ESERVFAIL', 4: 'ENOTIMP', 5: 'EREFUSED' };

/** A question as a server is asked it (RFC 1035 §4.1), with EDNS padding (RFC 7830 §3). */
export function writeQuestion(id: number, { name, type }: Question): Buffer {
  const begin = Buffer.alloc(HEADER_BYTES);
  begin.writeUInt16BE(id, 0);
  begin.writeUInt16BE(FLAG.recursionDesired, 2);
  begin.writeUInt16BE(1, 4);
  begin.writeUInt16BE(1, 10);
  const asked = Buffer.concat([wireName(name), Buffer.of(0, type, 0, CLASS_IN)]);
  const opt = Buffer.alloc(15);
  const padding = (PADDED_BYTES - ((begin.length + asked.length + opt.length) % PADDED_BYTES)) % PADDED_BYTES;
  opt.writeUInt16BE(OPT, 1);
  opt.writeUInt16BE(UDP_PAYLOAD_BYTES, 3);
  opt.writeUInt16BE(4 + padding, 9);
  opt.writeUInt16BE(OPTION_PADDING, 11);
  opt.writeUInt16BE(padding, 13);
  return Buffer.concat([begin, asked, opt, Buffer.alloc(padding)]);
}

/**
 * Reads what a server sent as the answer to a question. It must be one message to its last byte, with that id and that question;
 * addresses count where the name that was asked leads to them, by its own records or by a chain of names that ends. Cost: linear, at most 64 records, and no byte of a name is read twice however often it is pointed at.
 */
export function readServerAnswer(bytes: Uint8Array, id: number, { name, type }: Question): ServerAnswer {
  const cursor = new Cursor(bytes);
  const [hasId, flags, questions, answers] = [cursor.u16(), cursor.u16(), cursor.u16(), cursor.u16()];
  const count = answers + cursor.u16() + cursor.u16();
  const unfit = cursor.short ? 'what came is no answer' : unfitness(flags);
  if (unfit !== null) return { refused: unfit };
  const wanted = keyOf(wireName(name));
  const message = { bytes, names: new Map<number, Name>() };
  const isTo = hasId === id && questions === 1 && takeName(message, cursor) === wanted && cursor.u16() === type && cursor.u16() === CLASS_IN;
  if (!isTo) return { refused: 'the answer is to another question' };
  if (count > RECORDS_MOST) return { refused: `the answer has more than ${RECORDS_MOST} records` };
  const records = takeRecords(message, cursor, { count, answers });
  if (records === null) return { refused: 'the answer is malformed' };
  if (!cursor.exact) return { refused: 'something follows the answer' };
  const code = flags & 0xf;
  if (code === CODE.noSuchName) return { absent: 'ENOTFOUND' };
  if (code !== CODE.none) return { refused: CODES[code] ?? `code ${code}` };
  return follow(message, records, { wanted, type });
}

/** Why flags are not those of a whole answer. */
function unfitness(flags: number): string | null {
  if ((flags & FLAG.response) === 0 || (flags & FLAG.opcode) !== 0) return 'what came is no answer';
  return (flags & FLAG.truncated) === 0 ? null : 'the answer is cut short';
}

/** A record, its owner as a key, and where its data stand. */
interface Piece {
  readonly owner: string;
  readonly type: number;
  readonly kind: number;
  readonly ttl: number;
  readonly start: number;
  readonly data: Buffer;
}

/** Those that answer; what stands behind them is looked at for its form alone. */
function takeRecords(message: Message, cursor: Cursor, { count, answers }: { readonly count: number; readonly answers: number }): readonly Piece[] | null {
  const records: Piece[] = [];
  for (let at = 0; at < count; at++) {
    const record = takeRecord(message, cursor);
    if (record === null) return null;
    if (at < answers && record.kind === CLASS_IN) records.push(record);
  }
  return records;
}

function takeRecord(message: Message, cursor: Cursor): Piece | null {
  const owner = takeName(message, cursor);
  if (owner === null) return null;
  const [type, kind, ttl] = [cursor.u16(), cursor.u16(), cursor.u32()];
  const start = cursor.at + 2;
  const data = cursor.vector16();
  return cursor.short ? null : { owner, type, kind, ttl: ttl > TTL_SECONDS_MAX ? 0 : ttl, start, data };
}

/** The addresses at the end of the chain, each with the shortest time to live on the way. */
function follow(message: Message, records: readonly Piece[], { wanted, type }: { readonly wanted: string; readonly type: number }): ServerAnswer {
  const leads = new Map<string, { readonly to: string; readonly ttl: number }>();
  for (const { owner, start, data, ttl } of records.filter((record) => record.type === CNAME)) {
    const read = nameAt(message, start);
    if (read === null || read.next !== start + data.length) return { refused: 'the answer is malformed' };
    if ((leads.get(owner)?.to ?? read.key) !== read.key) return { refused: 'a name in the answer is two others' };
    leads.set(owner, { to: read.key, ttl });
  }
  let [owner, ttl] = [wanted, TTL_SECONDS_MAX];
  for (let hops = 0, next = leads.get(owner); next !== undefined; next = leads.get(owner), hops++) {
    if (hops === CHAIN_MOST) return { refused: `the answer leads over more than ${CHAIN_MOST} names` };
    [owner, ttl] = [next.to, Math.min(ttl, next.ttl)];
  }
  const found = records.filter((record) => record.type === type && record.owner === owner);
  const width = type === RECORD.a ? 4 : 16;
  if (found.some(({ data }) => data.length !== width)) return { refused: 'the answer is malformed' };
  const addresses = found.map((record) => ({ address: addressOfBytes(record.data)?.text ?? '', ttl: Math.min(ttl, record.ttl) }));
  return addresses.length === 0 ? { absent: 'ENODATA' } : { records: addresses };
}

function wireName(name: string): Buffer {
  return Buffer.concat([...name.split('.').flatMap((label) => [Buffer.of(label.length), Buffer.from(label, 'latin1')]), Buffer.of(0)]);
}

/** An answer, and its names by where they begin: what many records point at is read once. */
interface Message {
  readonly bytes: Uint8Array;
  readonly names: Map<number, Name>;
}

interface Name {
  readonly key: string;
  /** Where what follows the name begins. */
  readonly next: number;
  readonly pointers: number;
}

/** Labels that stand side by side, and what ends them: the root, or a pointer. */
interface Run {
  readonly from: number;
  readonly end: number;
  readonly next: number;
  /** Null: they end at the root. */
  readonly to: number | null;
}

function takeName(message: Message, cursor: Cursor): string | null {
  const read = nameAt(message, cursor.at);
  if (read === null) return null;
  cursor.take(read.next - cursor.at);
  return read.key;
}

/** A name with its pointers followed (RFC 1035 §4.1.4). Each leads further back than where its labels begin, and so they end. */
function nameAt({ bytes, names }: Message, start: number): Name | null {
  const runs: Run[] = [];
  let from: number | null = start;
  while (from !== null && !names.has(from)) {
    const run = runAt(bytes, from);
    if (run === null || runs.length > POINTERS_MOST) return null;
    runs.push(run);
    from = run.to;
  }
  for (const run of runs.toReversed()) {
    const name = joined(bytes, run, run.to === null ? undefined : names.get(run.to));
    if (name.key.length > NAME_BYTES_MAX || name.pointers > POINTERS_MOST) return null;
    names.set(run.from, name);
  }
  return names.get(start) ?? null;
}

/** The name of labels and of what they lead to. */
function joined(bytes: Uint8Array, { from, end, next }: Run, rest: Name | undefined): Name {
  const key = keyOf(bytes.subarray(from, end));
  return rest === undefined ? { key, next, pointers: 0 } : { key: key + rest.key, next, pointers: rest.pointers + 1 };
}

/** The labels that begin somewhere; null: they are none, or more than a name has. */
function runAt(bytes: Uint8Array, from: number): Run | null {
  for (let at = from; at - from < NAME_BYTES_MAX;) {
    const length = bytes[at] ?? LABEL_BYTES_MAX + 1;
    if (length >= 0xc0) {
      const to = pointerAt(bytes, at);
      return to < from && to >= HEADER_BYTES ? { from, end: at, next: at + 2, to } : null;
    }
    if (length > LABEL_BYTES_MAX) return null;
    at += 1 + length;
    if (length === 0) return { from, end: at, next: at, to: null };
  }
  return null;
}

/** Names are compared as they are on the wire, in small letters (RFC 4343): no two of them look the same, whatever their labels hold. */
function keyOf(wire: Uint8Array): string {
  const small = Buffer.from(wire);
  for (let at = 0; at < small.length; at++) {
    const byte = small[at] ?? 0;
    if (byte >= 0x41 && byte <= 0x5a) small[at] = byte | 0x20; // of letters alone: a length is below them
  }
  return small.toString('latin1');
}

/** Where a pointer leads; one that is cut off leads nowhere. */
function pointerAt(bytes: Uint8Array, at: number): number {
  const [high = 0, low] = [bytes[at], bytes[at + 1]];
  return low === undefined ? Number.POSITIVE_INFINITY : ((high & 0x3f) << 8) | low;
}

import { Cursor } from './cursor.ts';

/** Response codes (RFC 1035 §4.1.1; the last one RFC 6891 §9). */
export const RCODE = { noError: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5, badVers: 16 } as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

/** Types of records that are named here (RFC 1035 §3.2.2, RFC 6891 §6.1.1). */
const TYPE = { a: 1, soa: 6, opt: 41 } as const;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
/** Longest name on the wire, its lengths and root included, and longest label (RFC 1035 §3.1). */
const NAME_BYTES_MAX = 255;
const LABEL_BYTES_MAX = 63;
/** What a name that stands for a host, or for a service on one, consists of. Case is kept: some clients vary it (0x20). */
const LABEL = /^[A-Za-z0-9_-]+$/;
/** What a resolver takes over UDP without having said so (RFC 1035 §2.3.4). Answers are never longer. */
const ANSWER_BYTES_MAX = 512;
/** What is said of ourselves to those who speak EDNS: a size that no ordinary path fragments. */
const UDP_PAYLOAD_BYTES = 1_232;
/** Longest query over TCP. A name, a question and the options of one take far less. */
const QUERY_BYTES_MAX = 4_096;
/** Offset of the question, as a compression pointer (RFC 1035 §4.1.4). */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;
const FLAG = { response: 0x8000, opcode: 0x7800, truncated: 0x0200, recursionDesired: 0x0100, recursionAvailable: 0x0080 } as const;
const DNSSEC_OK = 0x8000;

/** What is echoed, whatever the answer. */
interface Asked {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  /** Name, type and class, byte for byte; empty where they could not be read. */
  readonly question: Buffer;
  /** Whether the query spoke EDNS(0), and with it the DO bit. An answer speaks EDNS only to those who do. */
  readonly edns: { readonly dnssecOk: boolean } | null;
}

/** One question of class IN. */
export interface Query extends Asked {
  /** As it was sent, without the dot at its end; the root is empty. */
  readonly name: string;
  readonly type: number;
}

/** A query that gets no answer but this code. */
export interface RefusedQuery extends Asked {
  readonly refused: Rcode;
}

export interface Answer {
  readonly rcode: Rcode;
  /** IPv4, dotted: records for a question of type A, of a code `noError`. As many as fit are given. */
  readonly addresses: readonly string[];
  /** How long either answer may be remembered, that there is nothing included. */
  readonly ttlSeconds: number;
}

/**
 * Reads a message that came to a DNS server (RFC 1035 §4, RFC 6891, RFC 9619: one question). Null: drop it without a word, for
 * it has no header or is itself a response, and answering those lets two servers answer each other for ever. Cost: linear.
 */
export function readQuery(bytes: Uint8Array): Query | RefusedQuery | null {
  const cursor = new Cursor(bytes);
  const id = cursor.u16();
  const flags = cursor.u16();
  const [questions, answers, authorities, additionals] = [cursor.u16(), cursor.u16(), cursor.u16(), cursor.u16()];
  if (cursor.short || (flags & FLAG.response) !== 0) return null;
  const asked: Asked = {
    id, opcode: (flags & FLAG.opcode) >> 11, recursionDesired: (flags & FLAG.recursionDesired) !== 0, question: Buffer.alloc(0), edns: null,
  };
  if (asked.opcode !== 0) return { ...asked, refused: RCODE.notImp };
  const isPlain = questions === 1 && answers === 0 && authorities === 0 && additionals <= 1;
  return isPlain ? readQuestion({ asked, bytes, cursor, hasOpt: additionals === 1 }) : { ...asked, refused: RCODE.formErr };
}

interface Header {
  readonly asked: Asked;
  readonly bytes: Uint8Array;
  readonly cursor: Cursor;
  readonly hasOpt: boolean;
}

function readQuestion({ asked, bytes, cursor, hasOpt }: Header): Query | RefusedQuery {
  const labels = readName(cursor);
  const [type, kind] = [cursor.u16(), cursor.u16()];
  const questionEnd = cursor.at;
  const edns = hasOpt ? readOpt(cursor) : null;
  if (labels === null || edns === 'malformed' || !cursor.exact) return { ...asked, refused: RCODE.formErr };
  const whole: Asked = { ...asked, question: Buffer.from(bytes.subarray(HEADER_BYTES, questionEnd)), edns };
  if (edns !== null && edns.version !== 0) return { ...whole, refused: RCODE.badVers };
  if (kind !== CLASS_IN) return { ...whole, refused: RCODE.refused };
  // A label may hold any bytes (RFC 2181 §11), a dot or NUL too; no host has such a name.
  if (!labels.every((label) => LABEL.test(label))) return { ...whole, refused: RCODE.nxDomain };
  return { ...whole, name: labels.join('.'), type };
}

/** Labels, one byte per character. Null: cut off, too long, or a pointer, which a first name has nothing to point to. */
function readName(cursor: Cursor): readonly string[] | null {
  const labels: string[] = [];
  let wireBytes = 1;
  for (;;) {
    const length = cursor.u8();
    if (cursor.short || length > LABEL_BYTES_MAX) return null;
    if (length === 0) return labels;
    wireBytes += 1 + length;
    if (wireBytes > NAME_BYTES_MAX) return null;
    labels.push(cursor.take(length).toString('latin1'));
  }
}

interface Opt {
  readonly version: number;
  readonly dnssecOk: boolean;
}

/** The pseudo-record of EDNS (RFC 6891 §6.1.2). Its options are passed over: cookies, padding and the like want no answer. */
function readOpt(cursor: Cursor): Opt | 'malformed' {
  const [root, type, , , version, flags] = [cursor.u8(), cursor.u16(), cursor.u16(), cursor.u8(), cursor.u8(), cursor.u16()];
  const options = new Cursor(cursor.vector16());
  if (cursor.short || root !== 0 || type !== TYPE.opt) return 'malformed';
  while (options.left > 0) {
    options.u16();
    options.vector16();
  }
  return options.short ? 'malformed' : { version, dnssecOk: (flags & DNSSEC_OK) !== 0 };
}

/**
 * The answer to a query: the question as it came, RA, never AA. Where there is no record to give, a SOA of the root says for how
 * long that may be remembered (RFC 2308 §5). At most 512 bytes, so that it fits every transport.
 */
export function writeAnswer(query: Query, { rcode, addresses, ttlSeconds }: Answer): Buffer {
  const roomFor = Math.floor((ANSWER_BYTES_MAX - HEADER_BYTES - query.question.length - optRecord(query, rcode).length) / A_BYTES);
  const given = rcode === RCODE.noError && query.type === TYPE.a ? addresses.slice(0, roomFor).map((address) => aRecord(address, ttlSeconds)) : [];
  return message(query, { rcode, answers: given, authorities: given.length === 0 ? [soaRecord(ttlSeconds)] : [] });
}

/** The answer to a query that was refused when it was read. */
export function writeRefusal(query: RefusedQuery): Buffer {
  return message(query, { rcode: query.refused, answers: [], authorities: [] });
}

function message(asked: Asked, { rcode, answers, authorities }: { readonly rcode: Rcode; readonly answers: readonly Buffer[]; readonly authorities: readonly Buffer[] }): Buffer {
  const opt = optRecord(asked, rcode);
  const flags = FLAG.response | (asked.opcode << 11) | (asked.recursionDesired ? FLAG.recursionDesired : 0) | FLAG.recursionAvailable | (rcode & 0xf);
  const counts = [asked.question.length > 0 ? 1 : 0, answers.length, authorities.length, opt.length > 0 ? 1 : 0];
  return Buffer.concat([u16(asked.id, flags, ...counts), asked.question, ...answers, ...authorities, opt]);
}

const A_BYTES = 16;

function aRecord(address: string, ttlSeconds: number): Buffer {
  return Buffer.concat([u16(POINTER_TO_QUESTION, TYPE.a, CLASS_IN), u32(ttlSeconds), u16(4), Buffer.from(address.split('.').map(Number))]);
}

/** Owner, server and mailbox are the root: all that is asked to be remembered is the absence, for so long. */
function soaRecord(ttlSeconds: number): Buffer {
  const data = Buffer.concat([Buffer.of(0, 0), u32(1, ttlSeconds, ttlSeconds, ttlSeconds, ttlSeconds)]);
  return Buffer.concat([Buffer.of(0), u16(TYPE.soa, CLASS_IN), u32(ttlSeconds), u16(data.length), data]);
}

/** Also carries the upper bits of a code that has more than four (RFC 6891 §6.1.3). */
function optRecord({ edns }: Asked, rcode: Rcode): Buffer {
  if (edns === null) return Buffer.alloc(0);
  return Buffer.concat([Buffer.of(0), u16(TYPE.opt, UDP_PAYLOAD_BYTES), Buffer.of(rcode >> 4, 0), u16(edns.dnssecOk ? DNSSEC_OK : 0, 0)]);
}

/**
 * Cuts the first message from a stream (RFC 1035 §4.2.2: its length in two bytes, then it). `next` is where the one after it begins.
 * Refused: a message too short for a header, or longer than 4 KiB. Looks at two bytes, whatever there is.
 */
export function readFramed(bytes: Uint8Array): { readonly need: 'more' } | { readonly message: Uint8Array; readonly next: number } | { readonly refused: string } {
  const cursor = new Cursor(bytes);
  const length = cursor.u16();
  if (cursor.short) return { need: 'more' };
  if (length < HEADER_BYTES || length > QUERY_BYTES_MAX) return { refused: `a DNS message of ${length} bytes` };
  return cursor.left < length ? { need: 'more' } : { message: cursor.take(length), next: cursor.at };
}

export function writeFramed(answer: Uint8Array): Buffer {
  return Buffer.concat([u16(answer.length), answer]);
}

function u16(...values: readonly number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >>> 8, value]));
}

function u32(...values: readonly number[]): Buffer {
  return u16(...values.flatMap((value) => [value >>> 16, value]));
}

import { isIPv4, isIPv6 } from 'node:net';

/** What a name server of the fake Internet says for one name. */
export interface Answer {
  /** IPv4 addresses answer A, IPv6 addresses AAAA. A type without an address is an empty answer. */
  readonly addresses?: readonly string[];
  /** Another name; its own answer in the zone follows in the same reply. */
  readonly cname?: string;
  /** Instead of an answer. Default for a name that is not in the zone: `nxdomain`. */
  readonly code?: 'nxdomain' | 'servfail' | 'refused';
  /** Default 60. */
  readonly ttlSeconds?: number;
  /** How long the reply waits, in milliseconds. Default 0. */
  readonly delayMs?: number;
  /** How the reply is wrong. `truncated` is whole over TCP, `oversized` is 60,000 bytes over any transport, `silent` is none. */
  readonly spoil?: 'silent' | 'truncated' | 'wrong-id' | 'wrong-name' | 'oversized' | 'garbage';
}

export interface Question {
  readonly id: number;
  /** As asked, its case kept, without the last dot. */
  readonly name: string;
  /** `A`, `AAAA`, … or the number. */
  readonly type: string;
  readonly wire: Buffer;
  /** Most that a reply over UDP may hold, in bytes. */
  readonly maxBytes: number;
  readonly hasEdns: boolean;
}

const TYPES: Readonly<Record<number, string>> = {
  1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY',
};
const CODES = { nxdomain: 3, servfail: 2, refused: 5 } as const;
const MOST_BYTES = 65_535;
const OVERSIZED_BYTES = 60_000;

/** Answers by name in lower case; the list's n-th entry answers the n-th query of each type, the last one all that follow. */
export type Zone = Map<string, readonly Answer[]>;

/** The question of a query, or undefined when the bytes are none (RFC 1035 §4.1; a name in a question is never compressed). */
export function questionOf(query: Buffer): Question | undefined {
  if (query.length < 17 || (query.readUInt16BE(2) & 0x8000) !== 0 || query.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = 12;
  for (;;) {
    const length = query[at];
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
    if (length === 0) break;
    labels.push(query.toString('latin1', at - length, at));
  }
  if (query.length < at + 4) return undefined;
  const type = query.readUInt16BE(at);
  const end = at + 4;
  const hasEdns = query.readUInt16BE(10) > 0 && query.length >= end + 11 && query[end] === 0 && query.readUInt16BE(end + 1) === 41;
  return {
    id: query.readUInt16BE(0),
    name: labels.join('.'),
    type: TYPES[type] ?? `${type}`,
    wire: query.subarray(12, end),
    maxBytes: hasEdns ? Math.max(512, query.readUInt16BE(end + 3)) : 512,
    hasEdns,
  };
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '').map((label) => Buffer.from(label, 'latin1'));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): string[] => text.split(':').filter((group) => group !== '');
  const [before, after] = [groups(head), groups(tail ?? '')];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after];
  return Buffer.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]));
}

function record({ owner, type, ttlSeconds, data }: { readonly owner: Buffer; readonly type: number; readonly ttlSeconds: number; readonly data: Buffer }): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttlSeconds, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, fixed, data]);
}

/** The records that answer a question: a chain of names, then addresses of the type that was asked. */
function recordsOf(question: Question, first: Answer, zone: Zone): readonly Buffer[] {
  const records: Buffer[] = [];
  let owner: Buffer = Buffer.from([0xc0, 12]);
  let answer: Answer | undefined = first;
  for (let hops = 0; answer !== undefined && hops < 16; hops++) {
    const { ttlSeconds = 60, cname, addresses = [] }: Answer = answer;
    if (cname !== undefined) {
      records.push(record({ owner, type: 5, ttlSeconds, data: nameBytes(cname) }));
      owner = nameBytes(cname);
      answer = zone.get(cname.toLowerCase())?.[0];
      continue;
    }
    const wanted = addresses.filter((address) => (question.type === 'A' && isIPv4(address)) || (question.type === 'AAAA' && isIPv6(address)));
    for (const address of wanted) records.push(record({ owner, type: isIPv4(address) ? 1 : 28, ttlSeconds, data: addressBytes(address) }));
    break;
  }
  return records;
}

interface Parts {
  readonly code: number;
  readonly isTruncated?: boolean;
  readonly records: readonly Buffer[];
}

function replyBytes({ id, wire, hasEdns }: Question, { code, isTruncated = false, records }: Parts): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x8580 | (isTruncated ? 0x0200 : 0) | code, 2); // a reply, with authority, recursion available
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt16BE(hasEdns ? 1 : 0, 10);
  const edns = Buffer.from([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, wire, ...records, ...(hasEdns ? [edns] : [])]);
}

/** The reply to a question, or undefined for silence. */
export function replyTo(question: Question, answer: Answer, { zone, isDatagram }: { readonly zone: Zone; readonly isDatagram: boolean }): Buffer | undefined {
  const code = answer.code === undefined ? 0 : CODES[answer.code];
  const records = code === 0 ? recordsOf(question, answer, zone) : [];
  const whole = replyBytes(question, { code, records });
  switch (answer.spoil) {
    case 'silent': return undefined;
    case 'garbage': return Buffer.concat([whole.subarray(0, 2), Buffer.alloc(64, 0xff)]);
    case 'wrong-id': return Buffer.concat([Buffer.of((whole[0] ?? 0) ^ 0xff), whole.subarray(1)]);
    case 'wrong-name': return replyBytes({ ...question, wire: Buffer.concat([nameBytes('other.test'), question.wire.subarray(-4)]) }, { code, records });
    case 'oversized': {
      const filler = record({ owner: Buffer.from([0xc0, 12]), type: 1, ttlSeconds: 60, data: Buffer.from([9, 9, 9, 9]) });
      return replyBytes(question, { code, records: Array.from({ length: Math.floor(OVERSIZED_BYTES / filler.length) }, () => filler) });
    }
    case 'truncated':
    case undefined: {
      const mustCut = isDatagram && (answer.spoil === 'truncated' || whole.length > question.maxBytes);
      return mustCut || whole.length > MOST_BYTES ? replyBytes(question, { code, isTruncated: true, records: [] }) : whole;
    }
  }
}

import { addressOfBytes, type Question, type ServerAnswer } from '@caisson/egress';

const CLASS_IN = 1;
const CNAME = 5;
const RECORDS_MOST = 64;

/** An answer of DNS read as plainly as the rules allow, whatever that costs: every name from its first byte, every record by itself. */
export function readPlainly(bytes: Buffer, id: number, { name, type }: Question): ServerAnswer {
  if (bytes.length < 12) return { refused: 'what came is no answer' };
  const [flags, questions] = [bytes.readUInt16BE(2), bytes.readUInt16BE(4)];
  if ((flags & 0xf800) !== 0x8000) return { refused: 'what came is no answer' };
  if ((flags & 0x0200) !== 0) return { refused: 'the answer is cut short' };
  const wanted = [...name.split('.'), ''].map((label) => String.fromCharCode(label.length) + label).join('');
  const asked = nameAt(bytes, 12);
  const isTo = bytes.readUInt16BE(0) === id && questions === 1 && asked?.key === wanted && bytes.subarray(asked.next, asked.next + 4).equals(Buffer.of(0, type, 0, CLASS_IN));
  return isTo ? readRecords(bytes, asked.next + 4, wanted, type) : { refused: 'the answer is to another question' };
}

function readRecords(bytes: Buffer, begin: number, wanted: string, type: number): ServerAnswer {
  const answers = bytes.readUInt16BE(6);
  const count = answers + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  if (count > RECORDS_MOST) return { refused: `the answer has more than ${RECORDS_MOST} records` };
  const records: Piece[] = [];
  let at = begin;
  while (records.length < count) {
    const record = recordAt(bytes, at);
    if (record === null) return { refused: 'the answer is malformed' };
    records.push(record);
    at = record.start + record.data.length;
  }
  if (at !== bytes.length) return { refused: 'something follows the answer' };
  const code = bytes.readUInt16BE(2) & 0xf;
  if (code === 3) return { absent: 'ENOTFOUND' };
  if (code !== 0) return { refused: { 1: 'EFORMERR', 2: 'ESERVFAIL', 4: 'ENOTIMP', 5: 'EREFUSED' }[code] ?? `code ${code}` };
  return follow(bytes, records.slice(0, answers).filter(({ kind }) => kind === CLASS_IN), wanted, type);
}

interface Piece {
  readonly owner: string;
  readonly type: number;
  readonly kind: number;
  readonly ttl: number;
  readonly start: number;
  readonly data: Buffer;
}

function recordAt(bytes: Buffer, at: number): Piece | null {
  const owner = nameAt(bytes, at);
  if (owner === null || owner.next + 10 > bytes.length) return null;
  const [type, kind, ttl, length] = [bytes.readUInt16BE(owner.next), bytes.readUInt16BE(owner.next + 2), bytes.readUInt32BE(owner.next + 4), bytes.readUInt16BE(owner.next + 8)];
  const start = owner.next + 10;
  const data = bytes.subarray(start, start + length);
  return data.length < length ? null : { owner: owner.key, type, kind, ttl: ttl > 0x7fff_ffff ? 0 : ttl, start, data };
}

function follow(bytes: Buffer, records: readonly Piece[], wanted: string, type: number): ServerAnswer {
  const leads = new Map<string, { readonly to: string; readonly ttl: number }>();
  for (const { owner, start, data, ttl } of records.filter((record) => record.type === CNAME)) {
    const read = nameAt(bytes, start);
    if (read === null || read.next !== start + data.length) return { refused: 'the answer is malformed' };
    if ((leads.get(owner)?.to ?? read.key) !== read.key) return { refused: 'a name in the answer is two others' };
    leads.set(owner, { to: read.key, ttl });
  }
  let [owner, ttl] = [wanted, 0x7fff_ffff];
  for (let hops = 0, next = leads.get(owner); next !== undefined; next = leads.get(owner), hops++) {
    if (hops === 16) return { refused: 'the answer leads over more than 16 names' };
    [owner, ttl] = [next.to, Math.min(ttl, next.ttl)];
  }
  const found = records.filter((record) => record.type === type && record.owner === owner);
  if (found.some(({ data }) => data.length !== (type === 1 ? 4 : 16))) return { refused: 'the answer is malformed' };
  const addresses = found.map((record) => ({ address: addressOfBytes(record.data)?.text ?? '', ttl: Math.min(ttl, record.ttl) }));
  return addresses.length === 0 ? { absent: 'ENODATA' } : { records: addresses };
}

/** Label by label (RFC 1035 §4.1.4); each pointer leads further back than all before it. */
function nameAt(bytes: Buffer, start: number): { readonly key: string; readonly next: number } | null {
  let [key, at, next, back, pointers] = ['', start, 0, start, 0];
  for (;;) {
    const length = bytes[at] ?? 0xbf;
    if (length >= 0xc0) {
      const to = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0xffff);
      if (at + 1 >= bytes.length || to >= back || to < 12 || ++pointers > 127) return null;
      if (next === 0) next = at + 2;
      [at, back] = [to, to];
      continue;
    }
    const label = bytes.subarray(at, at + 1 + length);
    if (length > 63 || label.length <= length || key.length + label.length > 255) return null;
    key += label.toString('latin1').replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    at += label.length;
    if (length === 0) return { key, next: next === 0 ? at : next };
  }
}

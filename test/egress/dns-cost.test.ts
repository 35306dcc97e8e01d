import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readServerAnswer } from '@caisson/egress';
import { dnsQuery, wireName } from './dns-bytes.ts';
import { readPlainly } from './dns-reference.ts';
import { a, cname, reply, rr } from './dns-server.ts';
import { u16 } from './hello-bytes.ts';

const SEED = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RECORDS_MOST = 64;
/** What an answer may cost of one that has one record and a short name: no record costs more than such an answer does. */
const RATIO_MOST = RECORDS_MOST;

const SHORT = 'api.example.test';
const LONG = Array.from({ length: 122 }, () => 'a').join('.');
const QUESTION_AT = 12;
const ADDRESS = Buffer.of(93, 184, 216, 34);
const pointer = (to: number): Buffer => u16(0xc000 | to);
const many = (make: (at: number) => Buffer): readonly Buffer[] => Array.from({ length: RECORDS_MOST }, (_, at) => make(at));

/** Names of a label and a pointer to the one before, in the data of one record, and where each of them begins. */
function ladder(from: number): { readonly record: Buffer; readonly rungs: readonly number[] } {
  const begin = from + 11;
  const rungs = Array.from({ length: 120 }, (_, at) => begin + 4 * at);
  const steps = rungs.map((_, at) => Buffer.concat([Buffer.from('\x01X', 'latin1'), pointer(at === 0 ? QUESTION_AT : begin + 4 * (at - 1))]));
  return { record: rr(16, Buffer.concat(steps), { owner: Buffer.of(0) }), rungs };
}

interface Costly {
  readonly what: string;
  readonly name: string;
  readonly answers: readonly Buffer[];
  readonly counts?: readonly [number, number, number, number];
}

const RUNGS = ladder(QUESTION_AT + wireName('t').length + 4);
const rung = (at: number): number => RUNGS.rungs[119 - (at % 60)] ?? 0;
const MORE = Array.from({ length: RECORDS_MOST - 1 }, (_, at) => at);

const COSTLY: readonly Costly[] = [
  { what: 'addresses of one name of 122 labels', name: LONG, answers: many(() => rr(1, ADDRESS)) },
  { what: 'addresses of as many names of 122 labels, in full', name: LONG, answers: many((at) => rr(1, ADDRESS, { owner: wireName(LONG.replace('a', String.fromCharCode(0x41 + (at % 26)))) })) },
  { what: 'addresses of 122 capital letters each', name: LONG, answers: many(() => rr(1, ADDRESS, { owner: wireName(LONG.toUpperCase()) })) },
  { what: 'names of 122 labels that lead to such names', name: LONG, answers: many(() => rr(5, pointer(QUESTION_AT + 2), { owner: pointer(QUESTION_AT + 4) })) },
  { what: 'names of 122 labels that lead to such names, in full', name: SHORT, answers: many(() => cname(LONG.toUpperCase(), { owner: wireName(LONG.toUpperCase()) })) },
  { what: 'names that are one label and a pointer, 120 times', name: 't', answers: [RUNGS.record, ...MORE.map((at) => rr(1, ADDRESS, { owner: pointer(rung(at)) }))] },
  { what: 'names that lead to names of one label and a pointer, 120 times', name: 't', answers: [RUNGS.record, ...MORE.map((at) => rr(5, pointer(rung(at)), { owner: Buffer.concat([Buffer.of(1, 0x41 + (at % 26), 1, 0x41 + (at >> 5)), pointer(rung(at))]) }))] },
  { what: 'servers of names, and what is additional', name: LONG, answers: many(() => rr(1, ADDRESS)), counts: [1, 1, 31, 32] },
];

/** Milliseconds, the least of many times, so that what else the machine does counts as little as it can. */
function costMs(read: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 60; turn++) {
    const start = performance.now();
    for (let call = 0; call < 20; call++) read();
    least = Math.min(least, performance.now() - start);
  }
  return least / 20;
}

for (const { what, name, answers, counts } of COSTLY) {
  test(`an answer of DNS with as many records as it may have costs no more than as many answers: ${what}`, () => {
    const one = reply(dnsQuery({ id: 0 }), { answers: [a('93.184.216.34')] });
    const most = reply(dnsQuery({ id: 0, name: wireName(name) }), { answers, ...(counts !== undefined && { counts }) });
    assert.deepEqual(readServerAnswer(most, 0, { name, type: 1 }), readPlainly(most, 0, { name, type: 1 }));
    assert.doesNotMatch(JSON.stringify(readPlainly(most, 0, { name, type: 1 })), /malformed|more than 64 records|follows/, 'control: it is read to its end');
    const ratio = costMs(() => void readServerAnswer(most, 0, { name, type: 1 })) / costMs(() => void readServerAnswer(one, 0, { name: SHORT, type: 1 }));
    assert.ok(ratio <= RATIO_MOST, `it costs ${ratio.toFixed(1)} times as much`);
  });
}

test('an answer of DNS with one record more than it may have is refused before any is read', () => {
  const asked = dnsQuery({ id: 0 });
  const read = (answers: readonly Buffer[]): object => readServerAnswer(reply(asked, { answers }), 0, { name: SHORT, type: 1 });
  assert.ok('records' in read(many(() => a('93.184.216.34'))), 'control');
  assert.deepEqual(read([...many(() => a('93.184.216.34')), a('93.184.216.34')]), { refused: `the answer has more than ${RECORDS_MOST} records` });
});

/** Writes names one after the other, some of them by pointers to those before. */
class Writer {
  readonly #known = new Map<string, number>();
  bytes: Buffer;

  constructor(begin: Buffer) {
    this.bytes = begin;
  }

  put(...pieces: readonly Buffer[]): void {
    this.bytes = Buffer.concat([this.bytes, ...pieces]);
  }

  /** @param whole how many labels are written out before a pointer is taken where there is one */
  name(name: string, whole: number): void {
    const labels = name.split('.');
    for (const [at, label] of labels.entries()) {
      const rest = labels.slice(at).join('.');
      const known = this.#known.get(rest);
      if (known !== undefined && at >= whole) return this.put(pointer(known));
      if (known === undefined && this.bytes.length < 0x3fff) this.#known.set(rest, this.bytes.length);
      this.put(Buffer.from(String.fromCharCode(label.length) + label, 'latin1'));
    }
    this.put(Buffer.of(0));
  }
}

const NAMES = fc.constantFrom('b.test', 'c.b.test', 'C.B.test', 'd.c.b.test', 'api.example.test', 'API.example.TEST', 'x.api.example.test', 'example.test', '\xc9.test', '\xe9.test', 't');
const RECORD = fc.record({
  owner: NAMES, to: NAMES, whole: fc.nat(3), wholeTo: fc.nat(3), type: fc.constantFrom(1, 1, 5, 5, 28, 16), kind: fc.constantFrom(1, 1, 1, 1, 3), ttl: fc.nat(2 ** 32 - 1),
  width: fc.constantFrom(4, 4, 4, 4, 4, 4, 4, 5), data: fc.uint8Array({ minLength: 16, maxLength: 16 }),
});

interface Random {
  readonly records: readonly (typeof RECORD extends fc.Arbitrary<infer T> ? T : never)[];
  readonly answers: number;
  readonly name: string;
  readonly type: 1 | 28;
  readonly code: number;
}

function write({ records, answers, name, type, code }: Random): Buffer {
  const counted = Math.min(answers, records.length);
  const writer = new Writer(Buffer.concat([0, 0x8180 | code, 1, counted, records.length - counted, 0].map(u16)));
  writer.name(name, 9);
  writer.put(u16(type), u16(1));
  for (const { owner, to, whole, wholeTo, type: kindOf, kind, ttl, width, data } of records) {
    writer.name(owner, whole);
    writer.put(u16(kindOf), u16(kind), u16(ttl >>> 16), u16(ttl & 0xffff));
    const [lengthAt, begin] = [writer.bytes.length, writer.bytes.length + 2];
    writer.put(u16(0));
    if (kindOf === 5) writer.name(to, wholeTo);
    else writer.put(Buffer.from(data.subarray(0, kindOf === 1 ? width : 16)));
    writer.bytes.writeUInt16BE(writer.bytes.length - begin, lengthAt);
  }
  return writer.bytes;
}

const RANDOM = fc.record({
  records: fc.array(RECORD, { maxLength: 20, size: 'max' }), answers: fc.constantFrom(0, 1, 3, 8, 70), name: fc.constantFrom('api.example.test', 'c.b.test', 't'), type: fc.constantFrom(1 as const, 28 as const), code: fc.constantFrom(0, 0, 0, 0, 0, 0, 2, 3, 9),
});

test('an answer of DNS: every whole answer says what it says when it is read plainly', () => {
  const seen = new Set<string>();
  fc.assert(fc.property(RANDOM, (random) => {
    const message = write(random);
    const read = readServerAnswer(message, 0, random);
    seen.add(Object.keys(read)[0] ?? '');
    assert.deepEqual(read, readPlainly(message, 0, random));
  }), { numRuns: 2_000, seed: SEED });
  assert.deepEqual([...seen].toSorted(), ['absent', 'records', 'refused'], 'control: all of them come up');
});

test('an answer of DNS: every spoilt answer says what it says when it is read plainly', () => {
  const spoil = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  let whole = 0;
  fc.assert(fc.property(RANDOM, spoil, fc.nat(3), (random, changes, cut) => {
    const message = write({ ...random, answers: 70 });
    for (const [at, byte] of changes) message[12 + (at % (message.length - 12))] = byte;
    const spoilt = message.subarray(0, message.length - (cut === 0 ? 1 : 0));
    const read = readServerAnswer(spoilt, 0, random);
    if (!('refused' in read)) whole += 1;
    assert.deepEqual(read, readPlainly(spoilt, 0, random));
  }), { numRuns: 2_000, seed: SEED });
  assert.ok(whole > 0, 'control: some are still answers');
});

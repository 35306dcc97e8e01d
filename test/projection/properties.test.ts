import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ENTRY_KINDS, type Entry, type Json } from '@caisson/contract';
import { emptyState, fold, foldAll, parseState, PointerCheck, stateBytes, stateHash, type State } from '@caisson/projection';
import { callIntent, ended, execIntent, madeLog, sandboxIntent, writing } from './given.ts';

const reparsed = (state: State): State => {
  const read = parseState(stateBytes(state));
  if ('bad' in read) assert.fail(read.bad);
  return read;
};

const log = fc.record({ seed: fc.string(), length: fc.integer({ min: 1, max: 300 }), cuts: fc.array(fc.nat(300), { maxLength: 4 }) });

test('the fold of a log in parts, each state serialised and read again, equals the fold of the whole', () => {
  fc.assert(fc.property(log, ({ seed, length, cuts }) => {
    const entries = madeLog(seed, length);
    const whole = foldAll(emptyState(), entries);
    const at = [0, ...cuts.filter((cut) => cut < length).toSorted((a, b) => a - b), length];
    const parts = at.slice(1).reduce((state, end, part) => reparsed(foldAll(state, entries.slice(at[part], end))), emptyState());
    assert.ok(stateBytes(parts).equals(stateBytes(whole)));
  }), { numRuns: 60 });
});

test('one entry at a time gives the same as all at once, and changes no state that it was given', () => {
  const entries = madeLog('one at a time', 300);
  let state = emptyState();
  for (const entry of entries) {
    const before = entry.index % 50 === 0 ? stateHash(state) : null;
    const next = fold(state, entry);
    if (before !== null) assert.equal(stateHash(state), before);
    state = next;
  }
  assert.equal(stateHash(state), stateHash(foldAll(emptyState(), entries)));
});

test('the order in which rows came about does not change the bytes of a state', () => {
  const state = foldAll(emptyState(), madeLog('order', 400));
  const turned = { ...state, agents: reversed(state.agents), sandboxes: reversed(state.sandboxes), open: reversed(state.open), secrets: reversed(state.secrets), snapshots: reversed(state.snapshots), runs: reversed(state.runs) };
  assert.ok(stateBytes(turned).equals(stateBytes(state)));
});

function reversed<Row>(rows: ReadonlyMap<string, Row>): ReadonlyMap<string, Row> {
  return new Map([...rows].toReversed());
}

/** Text of any kind: lone surrogates, marks that combine, and names that JavaScript gives a meaning to. */
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 400 }), fc.constantFrom('__proto__', 'constructor', '\ud800', 'a\u0301', 'e\u0301'.repeat(200), '\u212b'));
const body: fc.Arbitrary<Json> = fc.oneof(
  text.map((caller) => callIntent(caller, { secrets: [caller], network: [caller] })),
  text.map((caller) => sandboxIntent(caller, { image: caller })),
  fc.tuple(text, text).map(([caller, sandbox]) => execIntent(caller, sandbox)),
  text.map((detail) => ended(detail, { detail })),
  fc.tuple(text, fc.nat()).map(([approval, expiresMs]) => ({ event: 'held', approval, host: approval, port: 1, expiresMs })),
  text.map((layer) => ({ event: 'snapshot', caller: layer, layer, memory: true })),
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }).map((bytes) => ({ event: 'closed', connection: 1, bytesOut: bytes, bytesIn: bytes, cut: null })),
  fc.constantFrom<Json>({ event: 'pause', caller: 'a' }, { event: 'restore', caller: 'a', layer: 'l' }, { event: 'prepare', level: 'gvisor' }, { alert: 'x' }, null, 7),
  fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as Json),
);
const hostile = fc.array(fc.record({ kind: fc.constantFrom(...ENTRY_KINDS), subject: fc.oneof(fc.constantFrom('a', 'b', 'c'), text), body, run: text, seq: fc.integer({ min: -2, max: 9 }), timeMs: fc.nat() }), { maxLength: 40 });

test('whatever entries say, the fold and the pointer check do not throw and a state reads back to itself', () => {
  fc.assert(fc.property(hostile, (drafts) => {
    const entries: Entry[] = drafts.map(({ run, seq, ...rest }, index) => ({ ...rest, index, source: 'control', origin: { run, seq } }));
    const check = new PointerCheck();
    for (const entry of entries) check.check(entry);
    const half = Math.floor(entries.length / 2);
    const whole = foldAll(emptyState(), entries);
    const parts = reparsed(foldAll(reparsed(foldAll(emptyState(), entries.slice(0, half))), entries.slice(half)));
    assert.ok(stateBytes(parts).equals(stateBytes(whole)));
  }), { numRuns: 400 });
});

test('sums of bytes stay exact integers whatever is added', () => {
  const made = writing();
  made.add('intent', 'sbx-a', callIntent('a', { network: [] }));
  for (let time = 0; time < 3; time++) made.add('egress', 'sbx-a', { event: 'closed', connection: time, bytesOut: Number.MAX_SAFE_INTEGER, bytesIn: 1, cut: null });
  assert.equal(foldAll(emptyState(), made.entries).agents.get('a')?.bytesOut, Number.MAX_SAFE_INTEGER);
});

test('bytes that are not exactly those of a state are refused', () => {
  const bytes = stateBytes(foldAll(emptyState(), madeLog('strict', 50)));
  const wrong = [Buffer.alloc(0), Buffer.from('null'), Buffer.from('{}'), Buffer.concat([bytes, Buffer.from('\n')]), Buffer.from(bytes.toString().replace('"version":1', '"version":2')), Buffer.from(bytes.toString().replace('"agents":[', '"agents": [')), Buffer.from(bytes.toString().replace('{"agents"', '{"a":1,"agents"'))];
  for (const one of wrong) assert.ok('bad' in parseState(one));
  fc.assert(fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ by;
    const read = parseState(changed);
    assert.ok('bad' in read || stateBytes(read).equals(changed));
  }), { numRuns: 200 });
});

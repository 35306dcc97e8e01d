import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry } from '@caisson/contract';
import { PointerCheck } from '@caisson/projection';
import { beat, callIntent, denied, ended, execIntent, madeLog, sandboxIntent, writing, type Writing } from './given.ts';

function found(entries: readonly Entry[]): readonly string[] {
  const check = new PointerCheck();
  return entries.flatMap((entry) => check.check(entry)).map(({ index, why }) => `${index}: ${why}`);
}

const BOX = 'sbx-1';
const EXEC = 'exe-1';
const run = 'e'.repeat(32);
const at = (seq: number, source = 'gate'): Partial<Entry> => ({ source, origin: { run, seq } });

test('every pointer of a log as an instance writes it holds', () => {
  assert.deepEqual(found(madeLog('pointers', 1_000)), []);
});

const CASES: readonly (readonly [string, (made: Writing) => void, readonly RegExp[]])[] = [
  ['an outcome without an intent', ({ add }) => add('outcome', BOX, ended('exited')), [/^0: it has no intent/]],
  ['a second outcome', ({ add }) => {
    add('intent', BOX, callIntent('a'));
    add('outcome', BOX, ended('exited'));
    add('outcome', BOX, ended('exited'));
  }, [/^2: it has no intent that is open/]],
  ['a second intent', ({ add }) => {
    add('intent', BOX, callIntent('a'));
    add('intent', BOX, callIntent('b'));
  }, [/^1: it is a second intent of what entry 0 intends/]],
  ['an intent of what has ended', ({ add }) => {
    add('intent', BOX, callIntent('a'));
    add('outcome', BOX, ended('exited'));
    add('intent', BOX, callIntent('a'));
  }, [/^2: it is an intent of what has its outcome/]],
  ['an exec in a sandbox that nobody made', ({ add }) => add('intent', EXEC, execIntent('a', BOX)), [/^0: its sandbox sbx-1 has no allowed intent/]],
  ['an exec in a sandbox that was refused', ({ add }) => {
    add('intent', BOX, sandboxIntent('a', denied));
    add('intent', EXEC, execIntent('a', BOX));
  }, [/^1: its sandbox sbx-1 has no allowed intent/]],
  ['an exec that ran after the end of its sandbox', ({ add }) => {
    add('intent', BOX, sandboxIntent('a'));
    add('outcome', BOX, ended('closed'));
    add('intent', EXEC, execIntent('a', BOX));
    add('outcome', EXEC, ended('exited', { code: 0 }));
  }, [/^3: it is exited, and its sandbox had its outcome before entry 2/]],
  ['a refused exec that ran', ({ add }) => {
    add('intent', BOX, sandboxIntent('a'));
    add('intent', EXEC, execIntent('a', BOX, denied));
    add('outcome', EXEC, ended('signaled', { signal: 9 }));
  }, [/^2: it is signaled, and entry 1 was refused/]],
  ['egress of no sandbox', ({ add }) => add('egress', BOX, { event: 'connect', connection: 1, host: 'a', port: 1 }), [/^0: egress connect points to no sandbox/]],
  ['a secret that went out and was not leased', ({ add }) => {
    add('intent', BOX, sandboxIntent('a', { secrets: ['npm'] }));
    add('egress', BOX, { event: 'request', connection: 1, host: 'a', port: 1, method: 'GET', path: '/', secrets: [{ secret: 'npm', lease: 'l' }, { secret: 'github', lease: 'l' }] });
  }, [/^1: the secret github went out and was not leased/]],
  ['a lifecycle of no sandbox', ({ add }) => add('lifecycle', BOX, { event: 'pause', caller: 'a' }), [/^0: pause points to no sandbox/]],
  ['a revocation of what was not leased', ({ add }) => {
    add('intent', BOX, sandboxIntent('a'));
    add('lifecycle', BOX, { event: 'secret-revoked', caller: 'a', secret: 'npm' });
  }, [/^1: the secret npm was not leased/]],
  ['what a source reported and the log has not', ({ add }) => {
    for (const seq of [1, 2, 5]) add('alert', 'x', { alert: 'a' }, at(seq));
    add('heartbeat', 'gate', beat(5), at(6));
    add('heartbeat', 'gate', beat(6), at(7));
    add('heartbeat', 'gate', beat(9), at(10));
  }, [/^3: 2 entries of run e+ of gate are missing: 3–4$/, /^5: 4 entries of run e+ of gate are missing: 3–4, 8–9$/]],
  ['a number that comes twice', ({ add }) => {
    for (const seq of [1, 2, 2]) add('heartbeat', 'gate', beat(0), at(seq));
  }, [/^2: number 2 of run e+ is there already/]],
  ['a run that another source reports for', ({ add }) => {
    add('heartbeat', 'gate', beat(0), at(1));
    add('heartbeat', 'control', beat(0), at(2, 'control'));
  }, [/^1: its run e+ is one of gate, not of control/]],
];

for (const [what, write, expected] of CASES) {
  test(`the pointer check names ${what}`, () => {
    const made = writing();
    write(made);
    const told = found(made.entries);
    assert.equal(told.length, expected.length, told.join('\n'));
    for (const [index, text] of told.entries()) assert.match(text, expected[index] ?? /never/);
  });
}

test('what crosses the end of its sandbox and did not run is no bad pointer', () => {
  const { add, entries } = writing();
  add('intent', BOX, sandboxIntent('a', { network: [] }));
  add('outcome', BOX, ended('closed'));
  add('egress', BOX, { event: 'closed', connection: 1, bytesOut: 1, bytesIn: 1, cut: 'closed' });
  add('intent', EXEC, execIntent('a', BOX));
  add('outcome', EXEC, ended('failed', { code: 'SANDBOX_STATE', detail: 'closed' }));
  assert.deepEqual(found(entries), []);
});

test('what a source has under way, or says it could not put on record, is not missing', () => {
  const { add, entries } = writing();
  for (const seq of [1, 2, 5]) add('alert', 'x', { alert: 'a' }, at(seq));
  add('heartbeat', 'gate', beat(2), at(6));
  add('heartbeat', 'gate', beat(6, [3, 4]), at(7));
  add('heartbeat', 'gate', beat(7, [4], 2), at(8));
  assert.deepEqual(found(entries), []);
  add('heartbeat', 'gate', beat(8, [4]), at(9));
  assert.match(found(entries).join('\n'), /^6: 1 entries of run e+ of gate are missing: 3–4$/);
});

test('deleting any one entry that something points to is found', () => {
  const entries = madeLog('deleted', 300);
  const missed = entries.filter(({ kind }, index) => kind === 'intent' && found(renumbered(entries.toSpliced(index, 1))).length === 0 && hasPointer(entries, index));
  assert.deepEqual(missed, []);
});

/** Whoever can rewrite the whole log can number it anew; what points to the entry is still there. */
function renumbered(entries: readonly Entry[]): readonly Entry[] {
  return entries.map(({ timeMs, kind, source, subject, body }, index) => ({ timeMs, kind, source, subject, body, index }));
}

function hasPointer(entries: readonly Entry[], index: number): boolean {
  return entries.some(({ subject, kind }, later) => later > index && kind === 'outcome' && subject === entries[index]?.subject);
}

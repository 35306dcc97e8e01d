import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { EntryDraft, EntryKind, Json } from '@caisson/contract';
import { openFileLog, verifyLog, type Verification } from '@caisson/evidence';
import { tempDir } from './given.ts';

const START_MS = 1_700_000_000_000;
const MINUTE_MS = 60_000;
const CONTROL = 'c'.repeat(32);
const LATER = 'd'.repeat(32);
const GATE = 'e'.repeat(32);

/** An entry of a log that is written anew by who has its key: what it says, and when. */
interface Told extends EntryDraft {
  readonly atMs: number;
}

/** Writes a log as the scribe does: whoever has the key can leave out whatever they like, and all of it is signed. */
async function write(dir: string, told: readonly Told[]): Promise<void> {
  let nowMs = START_MS;
  await using log = await openFileLog({ dir, now: () => nowMs });
  for (const { atMs, ...draft } of told) {
    nowMs = START_MS + atMs;
    await log.append(draft);
  }
}

async function verified(t: TestContext, told: readonly Told[]): Promise<Verification> {
  const dir = tempDir(t);
  await write(dir, told);
  const result = await verifyLog(dir);
  assert.equal(result.bad, null, result.bad?.reason);
  return result;
}

/** Drafts of one run, numbered in their order. */
function runOf(run: string, source = 'control'): (kind: EntryKind, subject: string, body?: Json, atMs?: number) => Told {
  let seq = 0;
  return (kind, subject, body = {}, atMs = 0) => ({ kind, source, subject, body, origin: { run, seq: (seq += 1) }, atMs });
}

const standing = (settledUpTo: number, unrecorded: readonly number[] = [], unrecordedCount = unrecorded.length): Json => ({ settledUpTo, unrecorded, unrecordedCount });

/** Three calls, a heartbeat, a call, a heartbeat: 10 entries of one run. */
function callsWithBeats(): readonly Told[] {
  const next = runOf(CONTROL);
  const calls = [1, 2, 3].flatMap((call) => [next('intent', `sbx-${call}`, {}, call), next('outcome', `sbx-${call}`, {}, call)]);
  return [...calls, next('heartbeat', 'control', standing(6), MINUTE_MS), next('intent', 'sbx-4', {}, MINUTE_MS), next('outcome', 'sbx-4', {}, MINUTE_MS), next('heartbeat', 'control', standing(9), 2 * MINUTE_MS)];
}

const first = ({ findings }: Verification): string => (findings[0] === undefined ? 'nothing' : `entry ${findings[0].index} ${findings[0].reason}`);

test('a log that is whole is complete, and so is one whose entries say nothing of their place', async (t) => {
  assert.deepEqual((await verified(t, callsWithBeats())).findings, []);
  const old = callsWithBeats().map(({ kind, source, subject, body, atMs }) => ({ kind, source, subject, body, atMs }));
  assert.deepEqual((await verified(t, old)).findings, []);
});

test('a call that is left out by who has the key is missed by its numbers, and the first entry after it is named', async (t) => {
  const told = callsWithBeats().toSpliced(2, 2);
  const result = await verified(t, told);
  assert.equal(first(result), 'entry 2 follows what is missing: number 3 and 1 more of run cccccccc of control are not in the log, and its heartbeat at entry 4 says that they were recorded');
  assert.equal(result.findingsCount, 1);
});

test('an entry that the source itself has reported as failed is not missing, and neither is one that came after all', async (t) => {
  const failed = callsWithBeats().toSpliced(2, 2).map((told) => (told.kind === 'heartbeat' ? { ...told, body: standing((told.origin?.seq ?? 0) - 1, [3, 4]) } : told));
  assert.deepEqual((await verified(t, failed)).findings, []);
  const unnamed = failed.map((told) => (told.kind === 'heartbeat' ? { ...told, body: standing((told.origin?.seq ?? 0) - 1, [], 2) } : told));
  assert.deepEqual((await verified(t, unnamed)).findings, []);
  const late = [...callsWithBeats().toSpliced(2, 2), ...callsWithBeats().slice(2, 4).map((told) => ({ ...told, atMs: 2 * MINUTE_MS }))];
  const beats = (told: Told): Told => (told.kind === 'heartbeat' ? { ...told, body: standing((told.origin?.seq ?? 0) - 1, [3, 4]) } : told);
  assert.deepEqual((await verified(t, late.map(beats))).findings, []);
});

test('a heartbeat that is left out is missed', async (t) => {
  assert.match(first(await verified(t, callsWithBeats().toSpliced(6, 1))), /^entry 6 follows what is missing: number 7 of run cccccccc/);
});

test('a number that never comes is missed in a run that another has followed, and not while it may come', async (t) => {
  const next = runOf(CONTROL);
  const [one, , three] = [next('lifecycle', 'a'), next('lifecycle', 'b'), next('lifecycle', 'c')];
  assert.deepEqual((await verified(t, [one, three])).findings, []);
  const later = runOf(LATER);
  assert.deepEqual((await verified(t, [one, three, later('lifecycle', 'd')])).findings, [], 'it was killed before it could say why');
  const on = Array.from({ length: 4 }, (_, minute) => next('lifecycle', 'x', {}, minute * MINUTE_MS));
  assert.equal(first(await verified(t, [one, three, ...on, later('lifecycle', 'd', {}, 5 * MINUTE_MS)])), 'entry 1 follows what is missing: number 2 of run cccccccc of control never came, and no heartbeat says why');
  const long = Array.from({ length: 12 }, (_, minute) => next('lifecycle', 'd', {}, minute * MINUTE_MS));
  assert.match(first(await verified(t, [one, three, ...long])), /^entry 1 follows what is missing: number 2/);
});

test('a run that goes on without its heartbeats is overdue, but not when the machine slept', async (t) => {
  const start = callsWithBeats();
  const next = runOf(CONTROL);
  for (const _ of start) next('lifecycle', 'x');
  const since = (minutes: readonly number[]): readonly Told[] => minutes.map((minute) => next('lifecycle', 'x', {}, minute * MINUTE_MS));
  const busy = [...start, ...since(Array.from({ length: 12 }, (_, at) => at + 3))];
  assert.match(first(await verified(t, busy)), /^entry \d+ is 11 minutes after the last heartbeat of run cccccccc of control/);
  const again = runOf(CONTROL);
  for (const _ of start) again('lifecycle', 'x');
  assert.deepEqual((await verified(t, [...start, again('lifecycle', 'x', {}, 900 * MINUTE_MS), again('heartbeat', 'control', standing(11), 901 * MINUTE_MS)])).findings, []);
});

test('a source whose entries are all left out from some time on is overdue, as others go on', async (t) => {
  const control = runOf(CONTROL);
  const gate = runOf(GATE, 'gate');
  const beats = (next: typeof gate, source: string, from: number, to: number): readonly Told[] => Array.from({ length: to - from }, (_, at) => next('heartbeat', source, standing(from + at), (from + at) * MINUTE_MS));
  const both = Array.from({ length: 3 }, (_, minute) => [...beats(control, 'control', minute, minute + 1), ...beats(gate, 'gate', minute, minute + 1)]).flat();
  const alone = beats(control, 'control', 3, 20);
  assert.match(first(await verified(t, [...both, ...alone])), /^entry 22 is 17 minutes after the last heartbeat of run eeeeeeee of gate/);
  const anew = runOf(LATER);
  assert.deepEqual((await verified(t, [...both, ...beats(anew, 'control', 0, 20).map((told) => ({ ...told, atMs: told.atMs + 3 * MINUTE_MS }))])).findings, []);
});

const contradictions: readonly { readonly name: string; readonly beats: readonly Json[]; readonly reason: RegExp }[] = [
  { name: 'that calls itself settled', beats: [standing(7)], reason: /^entry 6 is a heartbeat of run cccccccc of control that calls number 7 settled, and has itself number 7/ },
  { name: 'that takes back what one before it said', beats: [standing(6), standing(4)], reason: /^entry 7 is a heartbeat .* calls the numbers up to 4 settled, and one before it those up to 6/ },
  { name: 'that counts fewer than it names', beats: [standing(6, [3, 4], 1)], reason: /^entry 6 is a heartbeat .* contradicts itself/ },
  { name: 'that names what is not settled', beats: [standing(5, [6])], reason: /^entry 6 is a heartbeat .* contradicts itself/ },
];
for (const { name, beats, reason } of contradictions) {
  test(`a heartbeat ${name} is found`, async (t) => {
    const next = runOf(CONTROL);
    const calls = [1, 2, 3].flatMap((call) => [next('intent', `sbx-${call}`), next('outcome', `sbx-${call}`)]);
    assert.match(first(await verified(t, [...calls, ...beats.map((body) => next('heartbeat', 'control', body))])), reason);
  });
}

test('a number that is there twice is found, however far apart, and so is a run of two sources', async (t) => {
  const next = runOf(CONTROL);
  const many = Array.from({ length: 4_200 }, (_, at) => next('intent', `sbx-${at}`));
  const again: Told = { ...(many[7] as Told), subject: 'sbx-again' };
  assert.equal(first(await verified(t, [...many.slice(0, 20), again])), 'entry 20 is a second one with number 8 of run cccccccc of control');
  assert.match(first(await verified(t, [next('intent', 'x'), { ...next('intent', 'y'), source: 'gate' }])), /^entry 1 is of gate, and run cccccccc of control is of control/);
});

test('an intent whose outcome is left out is found once the next run has said what it took over', async (t) => {
  const before = runOf(CONTROL);
  const later = runOf(LATER);
  const dir = (between: readonly Told[]): readonly Told[] => {
    const beats = [0, 1].map((minute) => later('heartbeat', 'control', standing(between.length + minute), minute * MINUTE_MS));
    return [before('intent', 'sbx-lost'), before('intent', 'sbx-kept'), ...between, ...beats];
  };
  const lost = await verified(t, dir([later('lifecycle', 'control', { event: 'go-on', goingOn: ['sbx-kept'] })]));
  assert.match(first(lost), /^entry 0 is the intent of sbx-lost, of which nothing was said when control began anew: by entry 4 it should have had an outcome/);
  assert.equal(lost.findingsCount, 1);
});

test('open intents of the newest run, and those that it took over, are no finding', async (t) => {
  const before = runOf(CONTROL);
  const later = runOf(LATER);
  const told = [
    before('intent', 'sbx-lost'), before('intent', 'sbx-kept'),
    later('outcome', 'sbx-lost', { ending: { kind: 'unknown' }, exit: 'unknown' }), later('lifecycle', 'control', { event: 'go-on', goingOn: ['sbx-kept'] }),
    later('intent', 'sbx-new'), ...[4, 5, 6].map((seq, at) => ({ ...later('heartbeat', 'control', standing(seq - 1), at * MINUTE_MS) })),
  ];
  const result = await verified(t, told);
  assert.deepEqual(result.findings, []);
  assert.deepEqual(result.openIntents, ['sbx-kept', 'sbx-new']);
});

/** A sandbox with four commands, one of which could not be executed; its pid 1 has started three. Numbers and heartbeats are as who has the key makes them. */
function sandboxWith(commands: readonly string[], counts: Json): readonly Told[] {
  const next = runOf(CONTROL);
  const allowed = { effect: 'allow', rule: 'default', reason: '' };
  const exec = (id: string): readonly Told[] => [
    next('intent', id, { what: 'exec', sandbox: 'sbx-1', decision: id === 'denied' ? { ...allowed, effect: 'deny' } : allowed }),
    next('outcome', id, { ending: { kind: id === 'missing-program' ? 'not-started' : 'exited' } }),
  ];
  const usage = { cpuMs: 1, memoryPeakBytes: 1, pidsPeak: 1, oomKills: 0, counts };
  return [next('intent', 'sbx-1', { what: 'sandbox', decision: allowed }), ...commands.flatMap(exec), next('outcome', 'sbx-1', { ending: { kind: 'closed' }, usage })];
}

test('a command whose entries are left out, and all numbers made right, is missed by what pid 1 and the launcher have counted', async (t) => {
  const counts = (started: number | null, asked: number): Json => ({ started, asked, cpuUs: 1, readBytes: null, writtenBytes: null });
  const all = ['exec-1', 'denied', 'exec-2', 'missing-program', 'exec-3'];
  assert.deepEqual((await verified(t, sandboxWith(all, counts(3, 3)))).findings, []);
  assert.deepEqual((await verified(t, sandboxWith(all, counts(null, 3)))).findings, []);
  const left = all.filter((id) => id !== 'exec-2');
  assert.equal(first(await verified(t, sandboxWith(left, counts(3, 3)))), 'entry 9 is the end of sandbox sbx-1: its pid 1 has started 3 programs, the log has 2');
  assert.equal(first(await verified(t, sandboxWith(left, counts(2, 3)))), 'entry 9 is the end of sandbox sbx-1: the launcher has started 3 programs, the log has 2');
});

/** Two connections and a request of one sandbox, as the gate tells of them. */
function passedBy(left: readonly number[], ends: 'dismissed' | 'heartbeat'): readonly Told[] {
  const place = { host: 'a.test', port: 443 };
  const bodies: readonly Json[] = [
    { event: 'connect', connection: 1, ...place }, { event: 'closed', connection: 1, bytesOut: 100, bytesIn: 7, cut: null },
    { event: 'request', connection: 2, ...place, method: 'GET', path: '/', secrets: [] }, { event: 'connect', connection: 3, ...place },
    { event: 'closed', connection: 3, bytesOut: 20, bytesIn: 1, cut: null }, { event: 'refused', what: 'connection', to: 'b.test:1', rule: null, reason: '' },
  ];
  const told = { connections: 2, requests: 1, closed: 2, bytesOut: 120, bytesIn: 8 };
  const next = runOf(GATE, 'gate');
  const entries = bodies.filter((_body, at) => !left.includes(at)).map((body) => next('egress', 'sbx-1', body));
  if (ends === 'dismissed') return [...entries, next('egress', 'sbx-1', { event: 'dismissed', connections: 2, bytesOut: 120, bytesIn: 8, refused: 1, told })];
  return [...entries, next('heartbeat', 'gate', { ...(standing(entries.length) as object), told })];
}

for (const ends of ['dismissed', 'heartbeat'] as const) {
  test(`what passed and is left out, with all numbers made right, is missed by what the gate has counted until ${ends === 'dismissed' ? 'the end of a sandbox' : 'its heartbeat'}`, async (t) => {
    assert.deepEqual((await verified(t, passedBy([], ends))).findings, []);
    assert.match(first(await verified(t, passedBy([0], ends))), /^entry 5 .*2 connections, of which the log has 1,/);
    assert.match(first(await verified(t, passedBy([2], ends))), /^entry 5 .*1 requests, of which the log has 0,/);
    assert.match(first(await verified(t, passedBy([1], ends))), /^entry 5 .*2 ends of connections, of which the log has 1,/);
    const told = passedBy([], ends).map((entry): Told => ((entry.body as { bytesOut?: number }).bytesOut === 20 ? { ...entry, body: { ...(entry.body as object), bytesOut: 19 } } : entry));
    assert.match(first(await verified(t, told)), /^entry 6 .*120 bytes out, of which the log has 119,/);
  });
}

test('whatever one entry is left out of any run with heartbeats is missed, and nothing is when none is', async (t) => {
  const kinds = fc.array(fc.constantFrom('call', 'beat', 'fail'), { minLength: 1, maxLength: 20 });
  await fc.assert(fc.asyncProperty(kinds, fc.nat(), async (steps, which) => {
    const next = runOf(CONTROL);
    const failed: number[] = [];
    let seq = 0;
    const told = [...steps, 'beat', 'beat'].flatMap((step, at): readonly Told[] => {
      seq += 1;
      if (step === 'beat') return [next('heartbeat', 'control', standing(seq - 1, failed.slice()))];
      const lifecycle = next('lifecycle', `sbx-${at}`);
      if (step === 'call') return [lifecycle];
      failed.push(seq);
      return [];
    });
    assert.deepEqual((await verified(t, told)).findings, []);
    const left = told.toSpliced(which % (told.length - 1), 1);
    assert.equal((await verified(t, left)).findingsCount, 1);
  }), { numRuns: 60 });
});

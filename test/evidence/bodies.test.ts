import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ENTRY_KINDS, misfitOf, readEntryBody, type EntryKind, type Json } from '@caisson/contract';
import { openFileLog, readEntries, scribeVerbs, verifyLog } from '@caisson/evidence';
import { problem, tempDir, ticking } from './given.ts';

const decision = { effect: 'allow', rule: 'default', reason: '' };

/** Bodies as their producers make them, without what readers leave alone. */
const BODIES: Readonly<Record<EntryKind, readonly { readonly [name: string]: Json }[]>> = {
  intent: [
    { caller: 'operator', program: 'true', request: '0'.repeat(64), decision, level: 'container', policy: '0'.repeat(64), network: null, secrets: [] },
    { what: 'sandbox', caller: 'operator', image: 'host', decision, level: 'container', policy: '0'.repeat(64), network: ['a.test'], secrets: ['key'], ttlMs: null },
    { what: 'exec', sandbox: 'sbx-1', caller: 'operator', program: 'true', request: '0'.repeat(64), decision },
  ],
  outcome: [{ ending: { kind: 'exited', code: 0 }, exit: 0 }, { ending: { kind: 'unknown', detail: 'lost' }, exit: 'unknown' }],
  lifecycle: [{ event: 'pause', caller: 'operator' }, { event: 'go-on', goingOn: ['sbx-1'] }],
  egress: [
    { event: 'connect', connection: 1, host: 'a.test', port: 443 },
    { event: 'dismissed', connections: 1, bytesOut: 1, bytesIn: 1, refused: 0, told: { connections: 1, requests: 0, closed: 1, bytesOut: 1, bytesIn: 1 } },
  ],
  alert: [{ alert: 'orphan-intents', severity: 'warning', about: ['sbx-1'], reason: 'Caisson stopped' }, { alert: 'tiles-not-written', severity: 'info', about: ['evidence'], reason: '', cleared: true }],
  heartbeat: [{ settledUpTo: 7, unrecorded: [3], unrecordedCount: 1 }],
};

test('every kind of entry has a schema: bodies of it are read, without one of their fields they are not, and never as another', () => {
  for (const kind of ENTRY_KINDS) {
    for (const body of BODIES[kind]) {
      const read = readEntryBody({ kind, body });
      assert.ok(read !== null, `${kind} ${JSON.stringify(body)}`);
      const [first = ''] = Object.keys(body).filter((name) => name !== 'what');
      const less = Object.fromEntries(Object.entries(body).filter(([name]) => name !== first));
      assert.equal(readEntryBody({ kind, body: less }), null, `${kind} without ${first}`);
    }
  }
});

test('a body with more than a reader knows is read as before, and whatever else a body is, reading it never throws', () => {
  const kind = fc.constantFrom(...ENTRY_KINDS);
  fc.assert(fc.property(kind, fc.nat(), fc.jsonValue(), (each, which, value) => {
    const body = BODIES[each][which % BODIES[each].length] as { readonly [name: string]: Json };
    assert.equal(readEntryBody({ kind: each, body: { ...body, 'of a newer writer': value as Json } })?.is, readEntryBody({ kind: each, body })?.is);
  }));
  fc.assert(fc.property(kind, fc.jsonValue(), (each, value) => void readEntryBody({ kind: each, body: value })));
});

test('verify says how many bodies are of no kind that it knows, and which is the first', async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-1', body: { event: 'pause', caller: 'operator' } });
    for (const event of ['of tomorrow', 'another']) await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-1', body: { event } });
  }
  const { unread, findings } = await verifyLog(dir);
  assert.deepEqual([unread, findings], [{ count: 2, first: 1 }, []]);
});

test('EVIDENCE_ENTRY_INVALID: a scribe writes no body that its kind does not have, names the field, and goes on', async (t) => {
  const dir = tempDir(t);
  await using log = await openFileLog({ dir, now: ticking() });
  const append = async (kind: EntryKind, body: Json): Promise<unknown> => scribeVerbs(log)['append']?.({ kind, source: 'control', subject: 'sbx-1', body });
  for (const [kind, body, field] of [
    ['intent', { ...BODIES.intent[0], decision: { ...decision, effect: 'perhaps' } }, /intent.*body\.decision\.effect/],
    ['intent', { ...BODIES.intent[0], what: 'party' }, /body\.what/],
    ['outcome', { exit: 0 }, /outcome.*body\.ending/],
    ['lifecycle', { event: 'of tomorrow', caller: 'operator' }, /lifecycle.*body\.event/],
    ['lifecycle', { event: 'dial', caller: 'operator', port: -1 }, /body\.port/],
    ['egress', { ...BODIES.egress[1], told: { connections: 1 } }, /egress.*body\.told\.requests/],
    ['egress', { event: 'request', connection: 1, host: 'a.test', port: 443, method: 'GET', path: '/', secrets: [{ secret: 'key' }] }, /body\.secrets\.0\.lease/],
    ['alert', { severity: 'critical' }, /alert.*body\.alert/],
    ['heartbeat', { settledUpTo: '7', unrecorded: [], unrecordedCount: 0 }, /heartbeat.*body\.settledUpTo/],
  ] as const) await assert.rejects(append(kind, body), problem('EVIDENCE_ENTRY_INVALID', field), JSON.stringify(body));
  for (const body of [null, 7, 'text', [], {}]) await assert.rejects(append('lifecycle', body), problem('EVIDENCE_ENTRY_INVALID', /body/));
  assert.equal(await log.head(), null, 'nothing was written');
  await append('lifecycle', BODIES.lifecycle[0] ?? {});
  assert.equal((await log.head())?.index, 0);
});

test('whatever is offered to a scribe, what it writes has a body that readers know, and what it refuses for its body has none', async (t) => {
  const dir = tempDir(t);
  await using log = await openFileLog({ dir, now: ticking() });
  const { append } = scribeVerbs(log);
  const kind = fc.constantFrom(...ENTRY_KINDS);
  let subjects = 0;
  const mangled = fc.tuple(kind, fc.nat(), fc.string(), fc.jsonValue(), fc.boolean()).map(([each, which, name, value, isLess]) => {
    const body = { ...BODIES[each][which % BODIES[each].length] } as Record<string, unknown>;
    const names = Object.keys(body);
    const at = names[which % names.length] ?? name;
    if (isLess) delete body[at];
    else body[which % 3 === 0 ? name : at] = value;
    return { kind: each, body: body as Json };
  });
  const any = fc.tuple(kind, fc.jsonValue()).map(([each, body]) => ({ kind: each, body }));
  await fc.assert(fc.asyncProperty(fc.oneof(mangled, any), async (offered) => {
    const failed = await append?.({ ...offered, source: 'control', subject: `sbx-${subjects++}` }).then(() => null, (error: { code: string }) => error.code);
    const misfits = misfitOf(offered) !== null;
    assert.equal(misfits, readEntryBody(offered) === null);
    assert.equal(failed === 'EVIDENCE_ENTRY_INVALID', misfits);
  }), { numRuns: 2_000 });
  for await (const { entry } of readEntries(dir)) assert.notEqual(readEntryBody(entry), null);
  assert.equal((await verifyLog(dir)).unread.count, 0);
});

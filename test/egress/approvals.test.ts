import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { EgressRule, NetworkPolicy, type Json } from '@caisson/contract';
import { Approvals, decideConnection, decideHttp, holding, layersOf, shareOf, type Attempt, type Layer } from '@caisson/egress';

const HELD: EgressRule = { host: 'a.test', hold: true };
const TO: Attempt = { host: 'a.test', port: 443, method: null, path: null };
const layers = (rules: readonly EgressRule[], allow?: readonly EgressRule[]): readonly Layer[] => {
  const decision = decideConnection(layersOf(allow === undefined ? undefined : { allow }, { rules }), TO);
  assert.ok('layers' in decision, JSON.stringify(decision));
  return decision.layers;
};

function stage(record: (body: Json) => Promise<void> = async () => undefined): { approvals: Approvals; recorded: Json[]; ask(attempt?: Partial<Attempt>, on?: { of?: readonly Layer[]; client?: PassThrough; holdMs?: number }): Promise<string>; pass(ms: number): void } {
  const recorded: Json[] = [];
  const clock = { nowMs: 0 };
  const approvals = new Approvals({ sandbox: 'sbx-0000000000000000', record: async (body) => (await record(body), void recorded.push(body)), nowMs: () => clock.nowMs, wallMs: () => clock.nowMs });
  return {
    approvals, recorded,
    pass: (ms) => void (clock.nowMs += ms),
    async ask(attempt = {}, { of = layers([HELD]), client = new PassThrough(), holdMs = 10_000 } = {}) {
      const verdict = await approvals.ask({ ...TO, ...attempt }, of, { holdMs, client });
      if (verdict === null) return 'free';
      return 'effect' in verdict ? verdict.reason : 'passed';
    },
  };
}

const idOf = (approvals: Approvals, at = 0): string => approvals.list()[at]?.id ?? 'none';

test('hold is of rules that allow, is not together with auditOnly, and a policy denies nothing by it', () => {
  assert.ok(EgressRule.safeParse(HELD).success);
  for (const rule of [{ ...HELD, effect: 'deny' }, { ...HELD, auditOnly: true }, { ...HELD, hold: 'yes' }]) assert.ok(!EgressRule.safeParse(rule).success, JSON.stringify(rule));
  assert.ok(!NetworkPolicy.safeParse({ deny: [HELD] }).success);
  for (const [holdMs, fine] of [[120_000, true], [999, false], [3_600_001, false]] as const) assert.equal(NetworkPolicy.safeParse({ holdMs }).success, fine);
});

test('what a rule without hold allows is not held, and a layer whose every rule holds is enough to hold it', () => {
  assert.equal(holding(layers([HELD, { host: '*.a.test' }, { host: 'a.test' }])).length, 0);
  assert.deepEqual(holding(layers([{ host: 'a.test' }], [HELD])).map(({ layer }) => layer), ['organisation']);
  assert.equal(holding(layers([HELD], [{ host: 'a.test' }])).length, 1);
});

test('a rule without hold gives a body its own limit, not the longer one of a rule that would have to be decided', () => {
  const rules: readonly EgressRule[] = [{ host: 'a.test', http: { methods: ['POST'], bodyBytes: 10 } }, { host: 'a.test', http: { methods: ['POST', 'PUT'] }, hold: true }];
  const unsaid = decideHttp(layers(rules), { method: 'POST', path: '/', bodyBytes: null });
  assert.ok('bodyBytes' in unsaid);
  assert.deepEqual([unsaid.bodyBytes, holding(unsaid.layers).length], [10, 0]);
  const long = decideHttp(layers(rules), { method: 'POST', path: '/', bodyBytes: 11 });
  assert.ok('bodyBytes' in long);
  assert.deepEqual([long.bodyBytes, holding(long.layers).length], [null, 1]);
});

test('attempts on the same wait for one decision, and only theirs', async () => {
  const { approvals, ask, recorded } = stage();
  const same = [ask(), ask(), ask()];
  const others = [ask({ port: 8443 }), ask({ host: 'b.test' }), ask({ method: 'GET', path: '/' }), ask({ method: 'POST', path: '/' })];
  await delay(1);
  assert.deepEqual(approvals.list().map(({ waiting }) => waiting), [3, 1, 1, 1, 1]);
  assert.equal(recorded.length, 5);
  assert.equal(approvals.answer(idOf(approvals), { decision: 'allow' })?.waiting, 3);
  assert.deepEqual(await Promise.all(same), ['passed', 'passed', 'passed']);
  approvals.end('closed');
  for (const reason of await Promise.all(others)) assert.match(reason, /closed before it was decided/);
});

test('a decision holds as long as it says: once is for what waits, a time ends, and a denial is not asked again at once', async () => {
  const { approvals, ask, pass } = stage();
  const decide = async (answer: Parameters<Approvals['answer']>[1]): Promise<string> => {
    const asked = ask();
    await delay(1);
    assert.ok(approvals.answer(idOf(approvals), answer) !== null);
    return asked;
  };
  assert.equal(await decide({ decision: 'allow', for: 'once' }), 'passed');
  assert.equal(await decide({ decision: 'allow', for: 1_000 }), 'passed', 'it was asked again after once');
  pass(999);
  assert.equal(await ask(), 'passed');
  pass(1);
  assert.match(await decide({ decision: 'deny' }), /it was denied$/, 'it was asked again after its time');
  assert.match(await ask(), /was denied a moment ago/);
  pass(60_000);
  assert.equal(await decide({ decision: 'allow', for: 'sandbox' }), 'passed');
  pass(1e12);
  assert.equal(await ask(), 'passed');
  approvals.change(layers([{ ...HELD, perMinute: 5 }]));
  assert.match(await ask({}, { holdMs: 5 }), /nobody has decided/, 'another rule is another decision');
});

test('what waits ends with its time, its rule, its client, and when it cannot be put on record', async () => {
  const { approvals, ask } = stage();
  assert.match(await ask({}, { holdMs: 20 }), /nobody has decided within 0 s/);
  const changed = ask();
  const client = new PassThrough();
  const gone = ask({ port: 80 }, { client });
  await delay(1);
  client.destroy();
  assert.match(await gone, /the client went away/);
  assert.deepEqual(approvals.list().map(({ port, waiting }) => [port, waiting]), [[443, 1], [80, 0]], 'who comes back finds what was asked');
  approvals.change(layers([HELD]));
  assert.match(await changed, /the rules were changed/);
  assert.deepEqual(approvals.list(), []);
  const unrecorded = stage(() => Promise.reject(new Error('full')));
  await assert.rejects(unrecorded.ask(), /full/);
  assert.deepEqual(unrecorded.approvals.list(), []);
});

test('nothing is decided before it is on record that it waits', async () => {
  const written = Promise.withResolvers<void>();
  const { approvals, ask } = stage(() => written.promise);
  const asked = ask();
  await delay(1);
  assert.deepEqual(approvals.list(), []);
  written.resolve();
  await delay(1);
  approvals.answer(idOf(approvals), { decision: 'allow' });
  assert.equal(await asked, 'passed');
});

test('a flood is bounded: of attempts, and of things that are asked', async () => {
  const { approvals, ask, recorded } = stage();
  const flood = Array.from({ length: 100 }, (_, at) => ask({ port: at + 1 }));
  const [first] = await Promise.all([Promise.race(flood), delay(1)]);
  assert.match(first, /32 attempts wait for a decision/);
  assert.deepEqual([approvals.list().length, recorded.length], [32, 32]);
  approvals.end('closed');
  await Promise.all(flood);
  const same = Array.from({ length: 100 }, () => ask());
  await delay(1);
  assert.equal(approvals.list()[0]?.waiting, 32);
  approvals.end('closed');
  await Promise.all(same);
});

test('a path that a sandbox chose drives no terminal', async () => {
  const { approvals, ask } = stage();
  const asked = ask({ method: 'GET', path: '/\u001b[2J' });
  await delay(1);
  assert.equal(approvals.list()[0]?.path, '/\\x1b[2J');
  approvals.end('closed');
  await asked;
});

test('what one sandbox waits for is listed, however much others wait for', () => {
  const lists = [['a1', 'a2', 'a3'], [], ['c1'], ['d1', 'd2']];
  assert.deepEqual(shareOf(lists, 100), lists.flat());
  assert.deepEqual(shareOf(lists, 4), ['a1', 'a2', 'c1', 'd1']);
  assert.deepEqual([shareOf(lists, 0), shareOf([], 5)], [[], []]);
  const many = Array.from({ length: 40 }, (_, sandbox) => Array.from({ length: 32 }, (__, at) => `${sandbox} ${at}`));
  const told = shareOf(many, 1_000);
  assert.equal(told.length, 1_000);
  for (let sandbox = 0; sandbox < 40; sandbox++) assert.equal(told.filter((one) => one.startsWith(`${sandbox} `)).length, 25);
});

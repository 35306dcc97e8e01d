import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { emptyState, foldAll } from '@caisson/projection';
import { readEntries } from '@caisson/evidence';
import type { Entry } from '@caisson/contract';
import { callIntent, denied, ended, execIntent, folder, sandboxIntent } from '../projection/given.ts';
import { audit, busyLog, made, reportIn, reportOn, timeOf, written, type Report } from './given.ts';

const LENGTH = 400;
const held: { place: ReturnType<typeof folder> | null } = { place: null };
const dir = (): string => join(held.place?.path ?? '', 'log');

before(async () => {
  held.place = folder();
  await written(dir(), busyLog(LENGTH));
});
after(() => held.place?.[Symbol.dispose]());

async function entriesOf(): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for await (const { entry } of readEntries(dir())) entries.push(entry);
  return entries;
}

test('a report names the log, its key, size, root and the time of its last entry', async () => {
  const { log, verification } = await reportIn(dir());
  const [name, id] = readFileSync(join(dir(), 'log.vkey'), 'utf8').split('+');
  const told = JSON.parse((await audit('verify', '--dir', dir(), '--json')).stdout) as { readonly head: { readonly hash: string } };
  assert.deepEqual(log, { origin: name, keys: [`${name}+${id}`], size: LENGTH, published: LENGTH, root: told.head.hash, headTimeMs: Date.parse(timeOf(LENGTH - 1)) });
  assert.equal(verification.verdict, 'good');
});

test('what a report counts of agents, secrets and kinds is what the state of the log says', async () => {
  const entries = await entriesOf();
  const state = foldAll(emptyState(), entries);
  const { agents, secrets, kinds, openIntents, unread, alerts } = await reportIn(dir());
  assert.equal(agents.rows.length, state.agents.size);
  for (const row of agents.rows) {
    const { calls, sandboxes, execs, denials, failures, unknown, connections, requests, refused } = state.agents.get(row.agent) ?? assert.fail(row.agent);
    assert.deepEqual([row.calls, row.sandboxes, row.execs, row.denied, row.failed, row.unknown, row.connections, row.requests, row.refused], [calls, sandboxes, execs, denials, failures, unknown, connections, requests, refused], row.agent);
  }
  for (const row of secrets.rows) assert.deepEqual({ leases: row.leases, uses: row.uses }, (({ leases, uses }) => ({ leases, uses }))(state.secrets.get(row.secret) ?? assert.fail(row.secret)));
  assert.equal(kinds.rows.reduce((sum, { count }) => sum + count, 0), LENGTH);
  assert.deepEqual(openIntents.listed.map(({ subject }) => subject).toSorted(), [...state.open.keys()].toSorted());
  assert.deepEqual([unread.count, alerts.count], [state.unread, state.totals.alerts]);
});

test('the same log gives the same bytes in every form', async () => {
  for (const format of ['json', 'md', 'text']) {
    const [once, again] = [await audit('report', '--dir', dir(), '--format', format), await audit('report', '--dir', dir(), '--format', format)];
    assert.equal(once.status, 0, once.stderr);
    assert.ok(once.stdout.length > 500);
    assert.equal(once.stdout, again.stdout);
  }
});

test('a denied call is listed with its rule and reason, an unknown outcome and an intent without one with who called', async () => {
  const log = made();
  log.add('intent', 'sbx-1', callIntent('token:build', { ...denied, program: 'dd' }));
  log.add('outcome', 'sbx-1', ended('refused'));
  log.add('intent', 'sbx-2', sandboxIntent('operator', { secrets: ['github'] }));
  log.add('intent', 'exe-1', execIntent('operator', 'sbx-2'));
  log.add('outcome', 'exe-1', ended('unknown', { detail: 'control died' }));
  log.add('egress', 'sbx-2', { event: 'connect', connection: 1, host: 'api.example', port: 443 });
  log.add('egress', 'sbx-2', { event: 'request', connection: 1, host: 'api.example', port: 443, method: 'GET', path: '/', secrets: [{ secret: 'github', lease: 'l' }] });
  log.add('egress', 'sbx-2', { event: 'closed', connection: 1, bytesOut: 10, bytesIn: 20, cut: null });
  log.add('egress', 'sbx-2', { event: 'refused', what: 'name', to: 'evil.example:443', rule: null, reason: 'no rule' });
  log.add('egress', 'sbx-2', { event: 'refused-again', again: [{ what: 'name', to: 'evil.example:443', more: 4 }], others: 2 });
  const { denied: refusals, unknown, agents, network, secrets } = await reportOn(log.entries);
  assert.deepEqual(refusals.listed.map(({ index, agent, program, rule, reason }) => [index, agent, program, rule, reason]), [[0, 'token:build', 'dd', 'limit', 'memoryBytes is above its maximum']]);
  assert.deepEqual(unknown.listed.map(({ index, agent, subject, detail }) => [index, agent, subject, detail]), [[4, 'operator', 'exe-1', 'control died']]);
  assert.deepEqual(network.allowed.rows, [{ to: 'api.example:443', connections: 1, requests: 1, notConnected: 0 }]);
  assert.deepEqual(network.refused, { rows: [{ what: 'name', to: 'evil.example:443', rule: null, reason: 'no rule', count: 5 }], beyond: 2 });
  assert.deepEqual(secrets.rows, [{ secret: 'github', leases: 1, uses: 1, rotations: 0, revocations: 0 }]);
  assert.deepEqual(agents.rows.map(({ agent, bytesOut, bytesIn, refused }) => [agent, bytesOut, bytesIn, refused]), [['operator', 10, 20, 7], ['token:build', 0, 0, 0]]);
});

test('--since and --until leave the entries of that span, and --agent those that an agent has caused', async () => {
  const whole = await reportIn(dir());
  const [early, late] = [await reportIn(dir(), { untilMs: Date.parse(timeOf(100)) }), await reportIn(dir(), { sinceMs: Date.parse(timeOf(100)) })];
  assert.deepEqual([early.period.entries, early.period.last?.index, late.period.entries, late.period.first?.index], [100, 99, LENGTH - 100, 100]);
  const sum = (name: 'calls' | 'refused' | 'connections', ...reports: readonly Report[]): number => reports.flatMap(({ agents }) => agents.rows).reduce((all, row) => all + row[name], 0);
  for (const name of ['calls', 'refused', 'connections'] as const) assert.equal(sum(name, early, late), sum(name, whole));
  const of = (agent: string): Promise<Report> => reportIn(dir(), { agent });
  for (const row of whole.agents.rows) assert.deepEqual((await of(row.agent)).agents.rows, [row]);
  assert.equal((await of('nobody')).period.entries, 0);
});

test('a head that was kept elsewhere is looked for, and a report without it is bad', async () => {
  const { head } = JSON.parse((await audit('verify', '--dir', dir(), '--json')).stdout) as { readonly head: { readonly index: number; readonly hash: string } };
  assert.equal((await audit('report', '--dir', dir(), '--head', `${head.index}:${head.hash}`)).status, 0);
  const { status, stdout } = await audit('report', '--dir', dir(), '--head', `${head.index}:${'0'.repeat(64)}`);
  assert.equal(status, 1);
  assert.match(stdout, /kept head +missing/);
});

test('another form, a time that is none, and a log that is not there are no evidence: 2', async () => {
  for (const [args, says] of [
    [['--dir', dir(), '--format', 'html'], /--format html is none of/],
    [['--dir', dir(), '--since', 'yesterday'], /--since: yesterday is not a day/],
    [['--dir', dir(), '--until', '2026-13-01'], /--until/],
    [['--dir', '/nonexistent'], /STATE_DIR_INVALID/],
  ] as const) {
    const { status, stderr } = await audit('report', ...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, says);
  }
});

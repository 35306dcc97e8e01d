import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { EgressRule, HeldAttempt, Level } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import { HOME } from '../harness.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, quietMark, sinkSawNothing, type Box, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
const HOST = 'held.example.test';
const OTHER = 'other.example.test';
/** Longer than a machine that does something else as well takes to see what waits and decide it. */
const HOLD_MS = 30_000;
/** Where nobody decides. */
const BRIEF_MS = 8_000;
const WORKS_MS = 20_000;
const held = (port: number, host = HOST): EgressRule => ({ host, port, hold: true });
const HELD: readonly EgressRule[] = [held(80), held(443), held(7), held(8080), held(80, OTHER)];

/** Says something at once and prints what comes back. */
const ECHO = `
import socket, sys
out = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
out.settimeout(60)
out.sendall(b"early")
try: print(out.recv(100).decode() or "ended")
except OSError as error: print("cut")
`;
/** Opens connections that wait, and holds them until the first is decided. */
const FLOOD = `
import socket, sys
held = []
for at in range(int(sys.argv[2])):
    try: held.append(socket.create_connection((sys.argv[1], 7), 5))
    except ConnectionResetError: pass # it was refused
held[0].settimeout(60)
try: held[0].recv(1)
except ConnectionResetError: pass # it was denied
`;

const curl = (...argv: readonly string[]): readonly string[] => ['curl', '-sS', '--max-time', '60', '-w', '\n%{http_code}', ...argv];

async function holding(holdMs: number): Promise<Scene> {
  const scene = await openScene({ policy: ({ net }) => ({ network: { holdMs, certificateAuthorities: [net.caPem] } }) });
  for (const name of [HOST, OTHER]) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  return scene;
}

describe('what only rules with hold allow', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await holding(HOLD_MS);
  });
  after(() => scene[Symbol.asyncDispose]());

  const open = (level: Level = 'container', rules = HELD): Promise<Box> => scene.open({ level, rules });
  const listed = async ({ id }: Box): Promise<readonly HeldAttempt[]> => {
    const { status, stdout, stderr } = await scene.caisson(['approvals', '--json']);
    assert.equal(status, 0, stderr);
    return (JSON.parse(stdout.toString()) as { approvals: readonly HeldAttempt[] }).approvals.filter(({ sandbox }) => sandbox === id);
  };
  /** The first that waits and is as it should be. */
  const waiting = async (box: Box, fits: (attempt: HeldAttempt) => boolean = ({ waiting: count }) => count > 0): Promise<HeldAttempt> => {
    for (const untilMs = performance.now() + WORKS_MS; ; await delay(50)) {
      const found = (await listed(box)).find(fits);
      if (found !== undefined) return found;
      assert.ok(performance.now() < untilMs, `nothing waits: ${JSON.stringify(await listed(box))}`);
    }
  };
  const decide = async (decision: 'allow' | 'deny', { id }: HeldAttempt, ...argv: readonly string[]): Promise<void> => {
    const { status, stderr } = await scene.caisson(['approvals', decision, id, ...argv]);
    assert.equal(status, 0, stderr);
  };
  /** Status and body of what curl in a sandbox is answered. */
  const get = async (box: Box, ...argv: readonly string[]): Promise<{ readonly status: number; readonly body: string }> => {
    const { stdout } = await box.exec(curl(...argv));
    const lines = stdout.toString().split('\n');
    return { status: Number(lines.at(-1)), body: lines.slice(0, -1).join('\n') };
  };
  /** Whether an attempt does not pass by itself: it waits, and its client gives up. */
  const isHeld = async (box: Box, ...argv: readonly string[]): Promise<boolean> => (await box.exec(['curl', '-sS', '--max-time', '4', ...argv])).status === 28;

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`nothing leaves before somebody allows it, who is on record first; what is denied never does (${level})`, async () => {
      await using box = await open(level);
      const mark = await scene.net.mark();
      const asking = get(box, `http://${HOST}/a?x=1`);
      const attempt = await waiting(box);
      assert.deepEqual([attempt.what, attempt.host, attempt.port, attempt.method, attempt.path, attempt.rules], ['request', HOST, 80, 'GET', '/a', [`allow ${HOST}:80`]]);
      await sinkSawNothing(scene, mark);
      await decide('allow', attempt);
      assert.equal((await asking).status, 200);
      assert.deepEqual((await scene.net.since(mark)).requests.map(({ method, path }) => `${method} ${path}`), ['GET /a?x=1']);
      const events: string[] = [];
      for await (const { entry: { subject, body } } of readEntries(scene.paths.evidence)) if (subject === box.id) events.push(`${String((body as { event?: string }).event)} ${String((body as { caller?: string }).caller ?? '')}`.trim());
      const at = (event: string): number => events.indexOf(event);
      assert.ok(at('held') >= 0 && at('held') < at('approval operator') && at('approval operator') < at('request'), events.join(', '));

      const later = await quietMark(scene);
      const again = get(box, `http://${HOST}/b`);
      await decide('deny', await waiting(box));
      const { status, body } = await again;
      assert.deepEqual([status, (JSON.parse(body) as { denials: string }).denials], [403, 'http://198.18.0.1:3128/denials']);
      assert.match(body, /it was denied.*approvals/);
      assert.match((await get(box, `http://${HOST}/c`)).body, /denied a moment ago/, 'a loop asks once');
      await sinkSawNothing(scene, later);
    });

    test(`a connection waits too, with what its client says meanwhile (${level})`, async () => {
      await using box = await open(level);
      const mark = await scene.net.mark();
      const echoing = box.python(ECHO, HOST, '7');
      const attempt = await waiting(box);
      await sinkSawNothing(scene, mark);
      await decide('allow', attempt);
      assert.deepEqual(await echoing, ['early']);
      const secure = box.exec(curl('-k', `https://${HOST}/s`));
      await decide('allow', await waiting(box));
      assert.match((await secure).stdout.toString(), /200$/);
      const cut = box.python(ECHO, HOST, '7');
      await decide('deny', await waiting(box));
      assert.deepEqual(await cut, ['cut']);
    });
  }

  test('when nobody decides it is refused, and nothing has left', async () => {
    await using brief = await holding(BRIEF_MS);
    await using box = await brief.open({ level: 'container', rules: HELD });
    const mark = await brief.net.mark();
    const { status, body } = await get(box, `http://${HOST}/`);
    assert.equal(status, 403, body);
    assert.match(body, /nobody has decided within 8 s/);
    const tunnelled = await box.exec(['curl', '-sS', '--max-time', '60', '-x', 'http://198.18.0.1:3128', `https://${HOST}/`]);
    assert.match(tunnelled.stderr, /403/);
    await sinkSawNothing(brief, mark);
  });

  test('several attempts on the same wait for one decision', async () => {
    await using box = await open();
    const asking = box.exec(['sh', '-c', `for i in 1 2 3; do curl -sS -o /dev/null -w '%{http_code}\\n' http://${HOST}/$i & done; wait`]);
    const attempt = await waiting(box, ({ waiting: count }) => count === 3);
    assert.equal((await listed(box)).length, 1);
    await decide('allow', attempt);
    assert.equal((await asking).stdout.toString(), '200\n200\n200\n');
  });

  test('an approval is of one sandbox, host, port and method, and ends with its time', async () => {
    await using box = await open();
    await using other = await open();
    const asking = get(box, `http://${HOST}/`);
    await decide('allow', await waiting(box), '--for', '10m');
    assert.equal((await asking).status, 200);
    assert.equal((await get(box, `http://${HOST}/again`)).status, 200);
    const mark = await quietMark(scene);
    assert.deepEqual(await Promise.all([
      isHeld(other, `http://${HOST}/`), isHeld(box, '-X', 'POST', `http://${HOST}/`), isHeld(box, `http://${OTHER}/`), isHeld(box, '--connect-timeout', '5', `http://${HOST}:8080/`),
    ]), [true, true, true, true]);
    await sinkSawNothing(scene, mark);
    const posting = box.exec(['sh', '-c', `head -c 3000000 /dev/zero | curl -sS -H Transfer-Encoding:chunked --data-binary @- http://${HOST}/bytes/7 | wc -c`]);
    await decide('allow', await waiting(box, ({ method, waiting: count }) => method === 'POST' && count > 0), '--for', '2s');
    assert.equal((await posting).stdout.toString().trim(), '7', 'a body waits too, and passes whole');
    await delay(2_100);
    assert.ok(await isHeld(box, '-X', 'POST', `http://${HOST}/`), 'its time is over');
  });

  test('a client that goes away is not sent on by a decision that comes later', async () => {
    await using box = await open();
    const mark = await scene.net.mark();
    assert.ok(await isHeld(box, `http://${HOST}/`));
    await decide('allow', await waiting(box, ({ waiting: count }) => count === 0), '--once');
    await box.refusals(['the client went away before it was decided']);
    await sinkSawNothing(scene, mark);
    const asking = get(box, `http://${HOST}/`);
    await decide('allow', await waiting(box));
    assert.equal((await asking).status, 200, 'and it is asked again');
  });

  test('other rules end what waits, and an approval of the rule that was', async () => {
    await using box = await open();
    const asking = get(box, `http://${HOST}/`);
    await decide('allow', await waiting(box), '--for', 'sandbox');
    assert.equal((await asking).status, 200);
    const mark = await quietMark(scene);
    const posting = get(box, '-X', 'POST', `http://${HOST}/`);
    await waiting(box);
    const file = `${scene.dir}/changed.json`;
    writeFileSync(file, JSON.stringify({ rules: HELD.map((rule) => ({ ...rule, perMinute: 100 })) }));
    assert.equal((await scene.caisson(['network', box.id, '--policy', file])).status, 0);
    const { status, body } = await posting;
    assert.equal(status, 403);
    assert.match(body, /the rules were changed/);
    assert.deepEqual(await listed(box), []);
    assert.ok(await isHeld(box, `http://${HOST}/`));
    await sinkSawNothing(scene, mark);
  });

  test('what waits ends with its sandbox, and by its own hand a sandbox decides nothing', async () => {
    const box = await open();
    const mark = await scene.net.mark();
    const asking = get(box, `http://${HOST}/`);
    const { id } = await waiting(box);
    for (const path of [`/v1/approvals/${id}`, `/approvals/${id}`, '/denials']) {
      const { status } = await get(box, '-d', '{"decision":"allow"}', `http://198.18.0.1:3128${path}`);
      assert.equal(status, 400, path);
    }
    await box[Symbol.asyncDispose]();
    await asking;
    assert.deepEqual(await listed(box), []);
    assert.match((await scene.caisson(['approvals', 'allow', id])).stderr, /APPROVAL_NOT_FOUND/);
    await sinkSawNothing(scene, mark);
  });

  test('people see what waits in a table, and as it comes', async () => {
    await using box = await open();
    const asking = get(box, `http://${HOST}/table`);
    const attempt = await waiting(box);
    const { stdout } = await scene.caisson(['approvals']);
    assert.match(stdout.toString(), new RegExp(`^${attempt.id} +${box.id} +GET ${HOST}:80 /table +\\d+s ago +in \\d+s +1 +allow ${HOST}:80$`, 'm'));
    const [program = '', ...argv] = scene.net.inHost([process.execPath, `${HOME}/apps/cli/src/main.ts`, 'approvals', 'watch']);
    const watching = spawn(program, argv, { env: { ...process.env, CAISSON_DIR: scene.dir, CAISSON_HOME: HOME }, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [said] = (await once(watching.stdout, 'data', { signal: AbortSignal.timeout(WORKS_MS) })) as [Buffer];
      assert.ok(said.toString().includes(attempt.id), said.toString());
    } finally {
      watching.kill('SIGINT');
      await once(watching, 'exit');
    }
    assert.match((await scene.caisson(['approvals', 'allow', attempt.id, '--once', '--for', '10m'])).stderr, /exclude each other/);
    await decide('deny', attempt);
    assert.equal((await asking).status, 403);
  });

  test('control that is killed while something waits finds it again, and its decision holds', async () => {
    await using box = await open();
    const asking = get(box, `http://${HOST}/`);
    const attempt = await waiting(box);
    process.kill(await scene.pidOf('control'), 'SIGKILL');
    await scene.ready();
    assert.equal((await waiting(box)).id, attempt.id);
    await decide('allow', attempt);
    assert.equal((await asking).status, 200);
  });

  test('a gate that is killed lets nothing go on, and the next one has no approvals', async () => {
    await using box = await open();
    const asking = get(box, `http://${HOST}/`);
    await decide('allow', await waiting(box), '--for', 'sandbox');
    assert.equal((await asking).status, 200);
    const mark = await quietMark(scene);
    const posting = box.exec(curl('-X', 'POST', `http://${HOST}/`));
    const attempt = await waiting(box);
    const gate = await scene.pidOf('gate');
    process.kill(gate, 'SIGKILL');
    assert.notEqual((await posting).status, 0);
    for (const untilMs = performance.now() + WORKS_MS; [gate, 0].includes(await scene.pidOf('gate')); await delay(50)) assert.ok(performance.now() < untilMs);
    assert.deepEqual(await listed(box), []);
    const late = await scene.caisson(['approvals', 'allow', attempt.id]);
    assert.match(late.stderr, /APPROVAL_NOT_FOUND/);
    for (const untilMs = performance.now() + WORKS_MS; (await box.exec(['getent', 'hosts', HOST])).status !== 0; ) assert.ok(performance.now() < untilMs);
    assert.ok(await isHeld(box, `http://${HOST}/`));
    await sinkSawNothing(scene, mark);
  });

  test('a sandbox that floods has a bounded number of attempts waiting, and costs another nothing', async () => {
    await using box = await open();
    await using other = await open('container', [held(80), { host: OTHER, port: 80 }]);
    const flooding = box.python(FLOOD, HOST, '100');
    const attempt = await waiting(box, ({ waiting: count }) => count === 32);
    assert.equal((await listed(box)).length, 1);
    assert.equal((await get(other, `http://${OTHER}/`)).status, 200);
    const asking = get(other, `http://${HOST}/`);
    await decide('allow', await waiting(other));
    assert.equal((await asking).status, 200);
    await decide('deny', attempt);
    await flooding;
    await box.refusals(['32 attempts wait for a decision']);
  });

  test('a sandbox reads what was refused to it, and nothing of another', async () => {
    await using box = await open();
    await using other = await open();
    for (const [each, host] of [[box, 'mine.example.test'], [other, 'theirs.example.test']] as const) await each.exec(['curl', '-sS', '-x', 'http://198.18.0.1:3128', `http://${host}/`]);
    for (const argv of [['http://198.18.0.1:3128/denials'], ['-x', 'http://198.18.0.1:3128', 'http://198.18.0.1:3128/denials']]) {
      const { status, body } = await get(box, ...argv);
      assert.equal(status, 200, body);
      const { total, denials } = JSON.parse(body) as { total: number; denials: readonly { to: string; wouldAllow: string; count: number; last: string }[] };
      assert.ok(total >= 1);
      const [mine] = denials.filter(({ to }) => to.includes('mine.example.test'));
      assert.ok(mine !== undefined && mine.count === 1 && mine.wouldAllow.includes('mine.example.test') && Date.parse(mine.last) > 0, body);
      assert.doesNotMatch(body, /theirs/);
    }
    assert.notEqual((await get(box, '-X', 'POST', 'http://198.18.0.1:3128/denials')).status, 200);
    assert.notEqual((await get(box, 'http://198.18.0.1:3128/denials/x')).status, 200);
  });
});

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';
import { filesWith, memoryHolds } from '../vault/host-search.ts';
import { canary, SEARCH } from '../vault/search-inside.ts';

const PUBLIC = '93.184.216.34';
const WORKS_MS = 20_000;

describe('a secret of the policy', { skip: noInternet(), concurrency: false }, () => {
  const value = canary();
  let scene: Scene;
  before(async () => {
    scene = await openScene({
      policy: ({ net, dir }) => {
        writeFileSync(`${dir}.secret`, `${value}\n`, { mode: 0o600 });
        const from: `file:/${string}` = `file:/${dir.slice(1)}.secret`;
        return {
          network: { certificateAuthorities: [net.caPem] },
          secrets: {
            api: { from, hosts: ['api.example.test'] },
            key: { from, hosts: ['api.example.test'], at: 'query:key', paths: ['/bytes/*'], methods: ['GET'] },
            gone: { from: 'file:/nonexistent/secret', hosts: ['api.example.test'] },
            brief: { from, hosts: ['brief.example.test'], ttlMs: 10_000 },
          },
        };
      },
    });
    for (const name of ['api.example.test', 'other.example.test', 'brief.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  });
  after(async () => {
    await scene[Symbol.asyncDispose]();
  });

  const sent = async (mark: number): Promise<readonly string[]> => (await scene.net.since(mark)).requests.flatMap(({ headers, path }) => [path, ...headers.filter(([name]) => name.toLowerCase() === 'authorization').map(([, text]) => text)]);
  /** What a shell in the sandbox says and how curl in it was answered. */
  const sh = async (box: Box, script: string): Promise<string> => {
    const { stdout, stderr } = await box.exec(['sh', '-c', script]);
    return `${stdout.toString()}${stderr}`;
  };
  const ASK = 'curl -sS --max-time 10 -w "%{http_code}\\n" -o /tmp/answer -H "Authorization: Bearer $API" ';

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`is seen by its server, and in the sandbox, on the disk of the host, in the record and in other processes by nobody (${level})`, { timeout: 240_000 }, async () => {
      await using box = await scene.open({ level, secrets: ['api', 'key'] });
      const mark = await scene.net.mark();
      assert.equal(await sh(box, `${ASK} https://api.example.test/bytes/1`), '200\n');
      assert.equal(await sh(box, 'curl -sS --max-time 10 -w "%{http_code}" -o /dev/null "https://api.example.test/bytes/1?key=$KEY"'), '200');
      assert.deepEqual(await sent(mark), ['/bytes/1', `Bearer ${value}`, `/bytes/1?key=${value}`]);
      // A process that has used it is still there, as one that was never told anything.
      await scene.caisson(['exec', '-d', box.id, '--', 'sh', '-c', `${ASK} https://api.example.test/bytes/1; sleep 60; true`]);
      await scene.net.until(({ requests }) => requests.length >= 3, { mark });
      const half = Math.floor(value.length / 2);
      assert.deepEqual(await box.python(SEARCH, value.slice(0, half), value.slice(half)), ['found 0']);
      assert.match((await box.python(SEARCH, 'caisson-', (await sh(box, 'printf %s "$API"')).slice('caisson-'.length)))[0] ?? '', /^found [1-9].*environ/, 'control: the search finds what is there');

      const snapshot = await scene.caisson(['snapshot', box.id]);
      assert.equal(snapshot.status, 0, snapshot.stderr);
      for (const folder of [scene.paths.dir, scene.paths.run]) assert.deepEqual(filesWith(folder, value), [], folder);
      for (const role of ['control', 'launcher', 'scribe'] as const) assert.equal(memoryHolds(await scene.pidOf(role), value), false, role);
      assert.equal(memoryHolds(await scene.pidOf('gate'), value), true, 'control: the search of memory finds it where it is');
      const uses = (await box.events()).filter(({ event }) => event === 'request');
      assert.equal(uses.length, 3);
      assert.ok(uses.every((event) => /"digest":"[0-9a-f]{64}","lease":"lea-[0-9a-z]{16}","secret":"(?:api|key)"/.test(JSON.stringify(event))), JSON.stringify(uses[0]));
    });

    test(`that comes back from its server does not reach the sandbox (${level})`, async () => {
      await using box = await scene.open({ level, secrets: ['api'] });
      const mark = await scene.net.mark();
      const said = await sh(box, `${ASK} https://api.example.test/echo; cat /tmp/answer`);
      assert.deepEqual((await sent(mark)).at(-1), `Bearer ${value}`, 'control: the server got it, and says back what it got');
      assert.ok(!said.includes(value) && !said.includes(value.slice(0, 12)), said);
      await box.refusals(['the answer holds a secret']);
    });
  }

  test('goes nowhere else: another host, another method, path or place, plain HTTP, or a sandbox that did not ask for it', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api', 'key'], rules: [{ host: 'other.example.test', protocol: 'https' }, 'api.example.test:80', 'api.example.test:443/https'] });
    await using other = await scene.open({ level: 'container', secrets: ['api'] });
    const [mine = '', theirs = ''] = await Promise.all([box, other].map((each) => sh(each, 'printf %s "$API"')));
    assert.notEqual(mine, theirs);
    const mark = await scene.net.mark();
    const attempts = [
      `-H "Authorization: Bearer $API" https://other.example.test/bytes/1`,
      `-H "Authorization: Bearer $API" http://api.example.test/bytes/1`,
      `-H "X-Other: $API" https://api.example.test/bytes/1`,
      `-H "Authorization: Bearer $API" -H "X-Copy: $API" https://api.example.test/bytes/1`,
      `"https://api.example.test/bytes/1?q=$API"`,
      `"https://api.example.test/$API"`,
      `"https://api.example.test/echo?key=$KEY"`,
      `-X DELETE "https://api.example.test/bytes/1?key=$KEY"`,
      `-u "user:$API" https://api.example.test/bytes/1`,
      `-A "$API" https://api.example.test/bytes/1`,
    ];
    for (const attempt of attempts) assert.match(await sh(box, `curl -sS --max-time 10 -w "%{http_code}" ${attempt}`), /403$/, attempt);
    assert.deepEqual((await scene.net.since(mark)).requests, [], 'nothing was sent');
    // A placeholder of another sandbox is only a text.
    assert.equal(await sh(other, `curl -sS --max-time 10 -w "%{http_code}" -o /dev/null -H "Authorization: Bearer ${mine}" https://api.example.test/bytes/1`), '200');
    assert.deepEqual(await sent(mark), ['/bytes/1', `Bearer ${mine}`]);
  });

  test('is another for a fork, and the placeholder of the original is only a text there', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'] });
    const mine = await sh(box, 'printf %s "$API" | tee /workspace/kept');
    const forked = await scene.caisson(['fork', box.id]);
    assert.equal(forked.status, 0, forked.stderr);
    const fork = { ...box, id: forked.stdout.toString().trim() };
    const inFork = (script: string): Promise<string> => scene.caisson(['exec', fork.id, '--', 'sh', '-c', script]).then(({ stdout, stderr }) => `${stdout.toString()}${stderr}`);
    try {
      assert.equal(await inFork('cat /workspace/kept'), mine);
      assert.notEqual(await inFork('printf %s "$API"'), mine);
      const mark = await scene.net.mark();
      for (const token of ['$API', '$(cat /workspace/kept)']) await inFork(`curl -sS --max-time 10 -H "Authorization: Bearer ${token}" https://api.example.test/bytes/1`);
      assert.deepEqual(await sent(mark), ['/bytes/1', `Bearer ${value}`, '/bytes/1', `Bearer ${mine}`]);
    } finally {
      await scene.caisson(['rm', fork.id]);
    }
  });

  test('that is revoked goes with no request more, and what it went out on is cut', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'], rules: ['other.example.test'] });
    const mark = await scene.net.mark();
    const running = box.exec(['sh', '-c', `curl -sS -H "Authorization: Bearer $API" https://api.example.test/bytes/900000000000 >/dev/null; echo ended $?`]);
    await scene.net.until(({ requests }) => requests.length > 0, { mark });
    const revoked = await scene.caisson(['secrets', 'revoke', box.id, 'api']);
    assert.equal(revoked.status, 0, revoked.stderr);
    assert.match((await running).stdout.toString(), /^ended (?!0)/);
    const later = await scene.net.mark();
    assert.match(await sh(box, `${ASK} https://api.example.test/bytes/1`), /Could not resolve host|000/);
    assert.deepEqual((await scene.net.since(later)).requests, []);
    const again = await scene.caisson(['secrets', 'revoke', box.id, 'api']);
    assert.match(again.stderr, /LEASE_NOT_FOUND/);
  });

  test('that is rotated is the new one from the next request on', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'] });
    const next = canary();
    writeFileSync(`${scene.dir}.secret`, next);
    try {
      const mark = await scene.net.mark();
      await sh(box, `${ASK} https://api.example.test/bytes/1`);
      const rotated = await scene.caisson(['secrets', 'rotate', 'api']);
      assert.equal(rotated.status, 0, rotated.stderr);
      assert.match(rotated.stdout.toString(), new RegExp(box.id));
      await sh(box, `${ASK} https://api.example.test/bytes/1`);
      assert.deepEqual(await sent(mark), ['/bytes/1', `Bearer ${value}`, '/bytes/1', `Bearer ${next}`]);
    } finally {
      writeFileSync(`${scene.dir}.secret`, value);
      await scene.caisson(['secrets', 'rotate', 'api']);
    }
  });

  test('whose time is over is not put in any more', async () => {
    await using box = await scene.open({ level: 'container', secrets: ['brief'] });
    const ask = 'curl -sS --max-time 10 -w "%{http_code}" -o /dev/null -H "Authorization: Bearer $BRIEF" https://brief.example.test/bytes/1';
    assert.equal(await sh(box, ask), '200');
    for (const untilMs = performance.now() + 2 * WORKS_MS; (await sh(box, ask)) === '200'; ) assert.ok(performance.now() < untilMs, 'it never ends');
    await box.refusals(['its lease is over']);
  });

  test('that cannot be had, or is none of the policy, starts nothing', async () => {
    const were = (await scene.caisson(['ls', '--json'])).stdout.toString();
    for (const [secret, code] of [['gone', 'SECRET_UNAVAILABLE'], ['other', 'SECRET_UNKNOWN']]) {
      for (const verb of [['create'], ['run']]) {
        const { status, stdout, stderr } = await scene.caisson([...verb, '--secret', 'api', '--secret', secret ?? '', ...(verb[0] === 'run' ? ['--', 'true'] : [])]);
        assert.notEqual(status, 0, `${verb.join()} ${secret}: ${stdout.toString()}${stderr}`);
        assert.match(stderr, new RegExp(`${code}: .*${secret}`));
        assert.ok(!stderr.includes(value));
      }
    }
    assert.equal((await scene.caisson(['ls', '--json'])).stdout.toString(), were);
  });

  test('is there again after the gate, control or the vault has died', { timeout: 180_000 }, async () => {
    await using box = await scene.open({ level: 'container', secrets: ['api'] });
    for (const roles of [['gate'], ['control'], ['vault'], ['gate', 'vault'], ['gate', 'vault', 'control']] as const) {
      for (const role of roles) process.kill(await scene.pidOf(role), 'SIGKILL');
      await scene.ready();
      for (const untilMs = performance.now() + WORKS_MS; ; ) {
        const mark = await scene.net.mark();
        const said = await sh(box, `${ASK} https://api.example.test/bytes/1`);
        if (said === '200\n' && (await sent(mark)).at(-1) === `Bearer ${value}`) break;
        assert.ok(performance.now() < untilMs, `${roles.join()}: ${said}`);
      }
    }
  });

  test('is used by one call as well', async () => {
    const mark = await scene.net.mark();
    const ran = await scene.caisson(['run', '--secret', 'api', '--', 'sh', '-c', `${ASK} https://api.example.test/bytes/1`]);
    assert.equal(ran.stdout.toString(), '200\n', ran.stderr);
    assert.deepEqual(await sent(mark), ['/bytes/1', `Bearer ${value}`]);
  });
});

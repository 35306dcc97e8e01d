import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunResult } from '@caisson/contract';
import { findDockerd, leftInDockerd, startDockerd, type Dockerd } from '../drivers/dockerd.ts';
import { linksOf } from '../drivers/linked.ts';
import { openScene, sinkSawNothing, type Scene } from './given.ts';
import { noInternet } from './internet/internet.ts';
import { recordOf } from './record.ts';

const PUBLIC = '93.184.216.34';
const SOON_MS = 10_000;
/** What is found before Docker at level container. */
const FASTER = globSync('{/usr/local/sbin,/usr/local/bin,/usr/sbin,/usr/bin,/sbin,/bin}/{crun,runc}');
const CURL = 'curl -sS --max-time 10 -o /dev/null -w "%{http_code}\\n"';

interface Ran extends Pick<RunResult, 'id' | 'level' | 'exit'> {
  readonly stdout: string;
}

describe('a Caisson that has Docker alone for level container', { skip: noInternet() || (findDockerd() === undefined && 'dockerd is not installed: apt-get install docker.io'), concurrency: false }, () => {
  let dockerd: Dockerd;
  let scene: Scene;
  before(async () => {
    dockerd = await startDockerd(findDockerd() ?? '');
    scene = await openScene({ dockerHost: `unix://${dockerd.socket}`, hidden: FASTER, policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem] } }) });
    for (const host of ['example.test', 'evil.test', 'api.example.test']) await scene.net.zone.set(host, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  });
  after(async () => {
    await scene?.[Symbol.asyncDispose]();
    await dockerd?.[Symbol.asyncDispose]();
  });
  const run = async (script: string, allow: readonly string[]): Promise<Ran> => {
    const { stdout, stderr } = await scene.caisson(['run', '--json', '--level', 'container', ...allow.flatMap((rule) => ['--allow', rule]), '--', 'sh', '-c', script]);
    assert.notEqual(stdout.toString(), '', stderr);
    return JSON.parse(stdout.toString()) as Ran;
  };
  const left = (): readonly string[] => [...linksOf({ place: scene.paths.gateNamespace }), ...leftInDockerd(dockerd.folder)];
  /** Clean-up goes on after the answer. */
  const nothingLeft = async (): Promise<void> => {
    for (const untilMs = performance.now() + SOON_MS; left().length > 0 && performance.now() < untilMs; ) await delay(50);
    assert.deepEqual(left(), []);
  };

  test('a call reaches what it may by name, its requests are read, and what it tries beyond is refused and on record', async () => {
    const mark = await scene.net.mark();
    const ran = await run(`${CURL} http://example.test/; ${CURL} https://api.example.test/v1; ${CURL} http://evil.test/; ${CURL} http://${PUBLIC}:81/; ${CURL} http://169.254.169.254/`, ['example.test:80', 'api.example.test/https']);
    assert.deepEqual([ran.level.runtime, ran.level.delivered], ['docker', 'container']);
    assert.deepEqual(ran.stdout.split('\n').filter((line) => line !== ''), ['200', '200', '000', '000', '000']);
    assert.deepEqual((await scene.net.since(mark)).requests.map(({ method, path }) => `${method} ${path}`), ['GET /', 'GET /v1']);
    await recordOf(scene.paths, ran.id).refusals(['evil.test', `${PUBLIC}:81/tcp`, '169.254.169.254:80/tcp']);
    await nothingLeft();
  });

  test('a call reads in a file what it was refused, and cannot write there', async () => {
    const ran = await run(`${CURL} http://evil.test/; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q evil.test /run/caisson/denials.json && break; sleep 0.2; done; cat /run/caisson/denials.json; touch /run/caisson/mine 2>&1; ls /run/caisson`, ['example.test:80']);
    assert.match(ran.stdout, /"to": ?"evil\.test/);
    assert.match(ran.stdout, /touch: .*Read-only file system\ndenials\.json\n$/);
    await nothingLeft();
  });

  test('a call without a network has none', async () => {
    const mark = await scene.net.mark();
    const ran = await run(`${CURL} http://${PUBLIC}/; cat /proc/net/dev`, []);
    assert.match(ran.stdout, /^000\n/);
    assert.doesNotMatch(ran.stdout, /eth0/);
    await sinkSawNothing(scene, mark);
    await nothingLeft();
  });

  test('LEVEL_UNAVAILABLE: a sandbox that stays is refused, network or not, because Docker mounts no workspace', async () => {
    for (const allow of [[], ['--allow', 'example.test:80']]) {
      const { status, stderr } = await scene.caisson(['create', '--level', 'container', ...allow]);
      assert.notEqual(status, 0);
      assert.match(stderr, /LEVEL_UNAVAILABLE/);
    }
    await nothingLeft();
  });
});

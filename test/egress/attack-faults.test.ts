import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Level, SupervisorStatus } from '@caisson/contract';
import { Caller } from '@caisson/wire';
import { childrenOf } from '../harness.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, sinkSawNothing, type Scene } from './given.ts';
import { PUBLIC, TALK, talk, talkOn } from './talk.ts';

/** How long something stays broken, and longest until it works again. */
const BROKEN_MS = 1_000;
const WORKS_MS = 20_000;

describe('faults of the gate', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    for (const name of ['example.test', 'evil.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  });
  after(() => scene[Symbol.asyncDispose]());

  const works = async (): Promise<void> => {
    const mark = await scene.net.mark();
    await scene.net.until(({ connections }) => connections.some(({ bytes }) => bytes.toString() === 'new'), { mark, timeoutMs: WORKS_MS });
  };
  const supervisor = async (): Promise<number> => {
    using caller = new Caller(scene.paths.supervisorSocket);
    return ((await caller.call('status', null)) as SupervisorStatus).pid;
  };
  /** Breaks something for a while in which nothing may leave, and has it mended. */
  const broken = async (): Promise<void> => {
    await delay(300); // connections end with packets of their own
    const mark = await scene.net.mark();
    await delay(BROKEN_MS);
    await sinkSawNothing(scene, mark);
  };
  const noEvil = async (): Promise<void> => {
    for (const { destinationPort, bytes } of (await scene.net.seen()).connections) assert.ok(destinationPort === 7 && !bytes.includes('evil'));
  };

  test('a gate that is not told any more what was refused goes, and the next one is told', async () => {
    await using box = await scene.open({ level: 'container', rules: ['example.test:7'] });
    const gate = await scene.pidOf('gate');
    const readers = childrenOf(gate);
    assert.equal(readers.length, 1);
    process.kill(readers[0] ?? Number.NaN, 'SIGKILL');
    for (const untilMs = performance.now() + WORKS_MS; [gate, 0].includes(await scene.pidOf('gate')); await delay(50)) assert.ok(performance.now() < untilMs, 'it goes on without seeing');
    // The next gate knows nobody until control has told it.
    for (const untilMs = performance.now() + WORKS_MS; (await box.exec(['getent', 'hosts', 'example.test'])).status !== 0; ) assert.ok(performance.now() < untilMs, 'the next gate does not know the sandbox');
    const talked = talkOn(box, 8);
    await works();
    assert.ok((await talked()).made > 5);
    await box.refusals([`${PUBLIC}:7/tcp`]);
  });

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`while the gate is dead nothing leaves, connections have ended, and the next gate knows the rules (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:7'] });
      const talked = talkOn(box, 20);
      await works();
      const [gate, parent] = [await scene.pidOf('gate'), await supervisor()];
      process.kill(parent, 'SIGSTOP'); // nobody starts the next one meanwhile
      try {
        process.kill(gate, 'SIGKILL');
        await broken();
      } finally {
        process.kill(parent, 'SIGCONT');
      }
      await works();
      assert.notEqual(await scene.pidOf('gate'), gate);
      const { kept, ended, made, refused } = await talked();
      assert.ok(kept > 5 && ended > 0 && made > 5 && refused > 10, JSON.stringify({ kept, ended, made, refused }));
      await noEvil();
      await box.refusals(['example.test:8', 'evil.test', '198.18.77.7:7', `${PUBLIC}:7/tcp`]);
    });

    test(`while the gate is stopped nothing leaves (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:7'] });
      const talked = talkOn(box, 12);
      await works();
      const gate = await scene.pidOf('gate');
      process.kill(gate, 'SIGSTOP');
      try {
        await broken();
      } finally {
        process.kill(gate, 'SIGCONT');
      }
      await works();
      assert.ok((await talked()).made > 5);
      await noEvil();
    });

    test(`while control is dead a sandbox keeps its rules, and so it does when gate and control die at once (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:7'] });
      await scene.caisson(['exec', '-d', box.id, '--', 'python3', '-c', TALK, '60', '60']);
      await works();
      process.kill(await scene.pidOf('control'), 'SIGKILL');
      await works();
      await scene.ready();
      for (const pid of [await scene.pidOf('control'), await scene.pidOf('gate')]) process.kill(pid, 'SIGKILL');
      await works();
      await scene.ready();
      assert.ok((await talk(box, 5)).made > 2);
      await noEvil();
      await box.refusals(['example.test:8', 'evil.test', '198.18.77.7:7', `${PUBLIC}:7/tcp`]);
    });

    test(`when the holder of the gate's namespace is killed a sandbox has no network, and a new one has (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:7'] });
      const talked = talkOn(box, 6);
      await works();
      const holder = await scene.pidOf('gate namespace');
      process.kill(holder, 'SIGKILL');
      for (const untilMs = performance.now() + WORKS_MS; [holder, 0].includes(await scene.pidOf('gate namespace')); await delay(50)) assert.ok(performance.now() < untilMs);
      await broken();
      assert.ok((await talked()).ended > 0);
      await using next = await scene.open({ level, rules: ['example.test:7'] });
      assert.ok((await talk(next, 5)).made > 2, 'control: a new sandbox reaches what it may');
      await noEvil();
    });
  }
});

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { removeLinks } from '@caisson/runtime';
import { sinkSawNothing } from '../egress/given.ts';
import { talkOn } from '../egress/talk.ts';
import { containerOf, sweepAll, tell } from './docker-behind.ts';
import { findDockerd, leftInDockerd, startDockerd } from './dockerd.ts';
import { childProgram, leftOf, openGround, read, readHost, type Ground } from './given.ts';
import { besideDockerd } from './in-docker.ts';
import { linkSuite } from './link.ts';
import { linksOf, type LinkBench } from './linked.ts';

const SOON_MS = 10_000;
const RULES = [{ host: 'example.test', port: 7 }];

/** What is Docker's alone: somebody else makes the namespace, keeps it, and can stop and start what is in it. */
function own(folder: string, given: () => { readonly bench: LinkBench; readonly ground: Ground }): void {
  test('a container that somebody else pauses sends nothing, goes on by its rules, and leaves nothing when it is closed in that state', async () => {
    const { bench, ground } = given();
    const { net } = bench.scene;
    const box = await bench.open(ground, { rules: RULES });
    const container = await containerOf(ground.driver.facts.path, box.id);
    const told = async (verb: string): Promise<void> => assert.equal((await tell(ground.driver.facts.path, 'POST', `/containers/${container}/${verb}`)).status, 204, verb);
    const talks = async (): Promise<unknown> => net.until(({ connections }) => connections.some(({ bytes }) => bytes.toString() === 'new'), { mark: await net.mark(), timeoutMs: SOON_MS });
    const talked = talkOn(box, 6);
    await talks();
    await told('pause');
    await delay(300); // what is on its way arrives
    const mark = await net.mark();
    await delay(1_000);
    await sinkSawNothing(bench.scene, mark);
    await told('unpause');
    await talks();
    assert.ok((await talked()).refused > 5);
    await told('pause');
    await box[Symbol.asyncDispose]();
    assert.deepEqual([...bench.links(), ...leftOf(ground), ...leftInDockerd(folder)], []);
  });

  test('a container that somebody else starts again has no link, says nothing and is removed with its sandbox', async () => {
    const { bench, ground } = given();
    const socket = ground.driver.facts.path;
    const box = await bench.open(ground, { rules: RULES });
    const container = await containerOf(socket, box.id);
    const before = box.machine.hello.namespaces['net'];
    assert.equal((await tell(socket, 'POST', `/containers/${container}/restart?t=0`)).status, 204);
    await box.machine.gone;
    const { State: { Pid: pid } } = JSON.parse((await tell(socket, 'GET', `/containers/${container}/json`)).body) as { readonly State: { readonly Pid: number } };
    if (pid !== 0) {
      const interfaces = (): unknown[] => [...read(`/proc/${pid}/net/dev`).matchAll(/^\s*([^\s:|]+):/gm)].map(([, name]) => name);
      let seen = interfaces();
      for (const untilMs = performance.now() + SOON_MS; seen.length === 0 && existsSync(`/proc/${pid}`) && performance.now() < untilMs; seen = interfaces()) await delay(20);
      if (seen.length > 0 || existsSync(`/proc/${pid}`)) assert.deepEqual(seen, ['lo']); // else it has ended meanwhile
    }
    assert.notEqual(before, undefined);
    for (const untilMs = performance.now() + SOON_MS; bench.links().length > 0 && performance.now() < untilMs; ) await delay(50);
    assert.deepEqual(bench.links(), [], 'the link went with the namespace');
    await box[Symbol.asyncDispose]();
    assert.deepEqual([...bench.links(), ...leftOf(ground), ...leftInDockerd(folder)], []);
  });

  test('a daemon that is killed keeps a namespace and no link: closing removes it without the daemon', async (t) => {
    const { bench } = given();
    const dockerd = await startDockerd(findDockerd() ?? '');
    t.after(() => dockerd[Symbol.asyncDispose]());
    const ground = await openGround('docker', { dockerHost: `unix://${dockerd.socket}`, gate: bench.gate });
    t.after(() => ground[Symbol.asyncDispose]());
    const box = await bench.open(ground, { rules: RULES });
    await dockerd.kill();
    await box.machine.gone;
    assert.match(leftInDockerd(dockerd.folder).join('\n'), /\/netns\/[0-9a-f]/, 'control: somebody keeps the namespace');
    assert.equal(bench.links().length, 1, 'control: and the link in it');
    await box[Symbol.asyncDispose]();
    assert.deepEqual(bench.links(), []);
    assert.notDeepEqual(leftOf(ground), [], 'the folder tells the next sweep');
    await dockerd.restart();
    const left = (): readonly string[] => [...leftOf(ground), ...leftInDockerd(dockerd.folder)];
    assert.deepEqual(await sweepAll(ground, left), [box.id]);
    assert.deepEqual([...bench.links(), ...left()], []);
  });

  test('where daemon and launcher are killed, the next launcher removes the links before it makes one, without a daemon', async (t) => {
    const { bench } = given();
    const dockerd = await startDockerd(findDockerd() ?? '');
    t.after(() => dockerd[Symbol.asyncDispose]());
    const base = mkdtempSync('/run/caisson-drivers-');
    t.after(() => rmSync(base, { recursive: true, force: true }));
    const child = fork(childProgram, ['docker', base, JSON.stringify(bench.gate)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: { ...process.env, DOCKER_HOST: `unix://${dockerd.socket}` } });
    const ids = await new Promise<string[]>((done) => void child.once('message', (message) => done(message as string[])));
    const ended = new Promise((done) => child.once('exit', done));
    await dockerd.kill();
    child.kill('SIGKILL');
    await ended;
    assert.equal(linksOf(bench.gate).length, ids.length, 'control: nobody has removed them');
    assert.equal(await removeLinks(bench.gate), true);
    assert.deepEqual(bench.links(), []);
    await dockerd.restart();
    const next = await openGround('docker', { base, dockerHost: `unix://${dockerd.socket}`, gate: bench.gate });
    const left = (): readonly string[] => [...leftOf(next), ...leftInDockerd(dockerd.folder)];
    await sweepAll(next, left);
    assert.deepEqual(left(), []);
    await next[Symbol.asyncDispose]();
  });
}

await besideDockerd(import.meta.filename, async (folder) => {
  const { runtimes } = await readHost();
  const like = ['crun', 'runc'].find((name) => runtimes.some((runtime) => runtime.name === name));
  // Settings that the kernel shows in namespaces of its first user namespace alone, and those of Docker are not.
  linkSuite('docker', false, { like, hides: /^\/proc\/sys\/net\/(core\/xfrm_|ipv6\/route\/)/, left: (ground) => [...leftOf(ground), ...leftInDockerd(folder)], own: (given) => own(folder, given) });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { suite, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationSpec } from '@caisson/contract';
import { Cores, DockerDriver, probeHost, restoreOn, Slots, type Driver, type LauncherRoom } from '@caisson/runtime';
import { containerOf, sweepAll, tell } from './docker-behind.ts';
import { findDockerd, leftInDockerd, startDockerd, type Dockerd } from './dockerd.ts';
import { leftOf, openGround, pidsOf, read, specFor, type Ground } from './given.ts';
import { besideDockerd } from './in-docker.ts';
import { COMMANDS, runIn } from './suite.ts';

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
const DIGEST = `sha256:${'ab'.repeat(32)}` as const;

const hostUid = (ground: Ground, id: string): number => Number(/^Uid:\s+(\d+)/m.exec(read(`/proc/${pidsOf(ground, id)[0]}/status`))?.[1]);

const roomOf = ({ host, driver }: Ground): LauncherRoom => ({ facts: async () => host, expect: () => undefined, driver: () => driver });

/** Another driver on the same daemon that begins with the same uid. */
function driverAt(ground: Ground, base: string, start: number): Driver {
  const image = { rootfs: `${ground.base}/images/host`, initPath: `${ground.base}/images/init`, usersPath: `${ground.base}/images/users`, roots: `${ground.base}/images/roots` };
  return new DockerDriver(ground.driver.facts, { host: ground.host, image, sandboxes: base, cgroupParent: ground.cgroupParent, cores: new Cores([0]), slots: new Slots(1_999_000_000, 0) }, start);
}

/** A daemon of this test alone, and a driver for it. */
async function openDaemon(t: TestContext): Promise<{ readonly dockerd: Dockerd; readonly ground: Ground; readonly left: () => readonly string[] }> {
  const dockerd = await startDockerd(findDockerd() ?? '');
  t.after(() => dockerd[Symbol.asyncDispose]());
  const ground = await openGround('docker', { dockerHost: `unix://${dockerd.socket}` });
  t.after(() => ground[Symbol.asyncDispose]());
  return { dockerd, ground, left: () => [...leftOf(ground), ...leftInDockerd(dockerd.folder)] };
}

await besideDockerd(import.meta.filename, () => {
  suite('sandboxes of one Docker daemon', () => {
    test('two launchers that begin with the same uid give their sandboxes two, inside and on the host', async (t) => {
      await using ground = await openGround('docker');
      const bases = [1, 2].map(() => mkdtempSync('/run/caisson-drivers-'));
      t.after(() => bases.forEach((base) => rmSync(base, { recursive: true, force: true })));
      const specs = bases.map(() => specFor(ground.host));
      const drivers = bases.map((base) => driverAt(ground, base, 4_711));
      const machines = await Promise.all(specs.flatMap((spec, index) => drivers[index]?.launch(spec, never()) ?? []));
      const inside = machines.map(({ hello }) => hello.uid);
      const outside = specs.map(({ id }) => hostUid(ground, id));
      for (const machine of machines) await machine.close();
      for (const driver of drivers) await driver.settled();
      assert.deepEqual(inside.toSorted((a, b) => a - b), [24_711, 24_712]);
      assert.equal(new Set(outside).size, 2);
      assert.ok(outside.every((uid) => uid > 24_712), `host uids ${outside.join()}`);
    });

    test('one that hoards pipes takes nothing from another, because the kernel counts them for another uid', async () => {
      await using ground = await openGround('docker');
      const greedy = await ground.driver.launch(specFor(ground.host), never());
      const other = await ground.driver.launch(specFor(ground.host), never());
      const hoard = 'import os,time\nfor _ in range(500): os.pipe()\nprint(1,flush=True)\ntime.sleep(60)';
      const size = 'import os,fcntl\nprint(fcntl.fcntl(os.pipe()[0], 1032))';
      const pipeBytes = async (machine: typeof other): Promise<number> => Number((await runIn(machine, ['python3', '-c', size])).stdout.toString());
      const started = Array.from({ length: 3 }, () => new Promise<void>((done) => void greedy.spawn(
        { argv: ['python3', '-c', hoard], env: ['PATH=/usr/bin'], cwd: '/', stdin: false, outputBytes: 10 }, { onOutput: async () => done() },
      )));
      await Promise.all(started);
      assert.ok((await pipeBytes(greedy)) < 65_536, 'the hoard is large enough to be felt');
      assert.equal(await pipeBytes(other), 65_536);
      await Promise.all([greedy.close(), other.close()]);
    });

    const BEHIND: readonly (readonly [what: string, (socket: string, container: string) => Promise<unknown>])[] = [
      ['killed', (socket, container) => tell(socket, 'POST', `/containers/${container}/kill`)],
      ['stopped', (socket, container) => tell(socket, 'POST', `/containers/${container}/stop?t=0`)],
      ['removed', (socket, container) => tell(socket, 'DELETE', `/containers/${container}?force=1`)],
    ];
    for (const [what, meddle] of BEHIND) {
      test(`a sandbox that is ${what} behind the driver's back is lost, and leaves nothing`, async () => {
        await using ground = await openGround('docker');
        const socket = ground.driver.facts.path;
        const spec = specFor(ground.host);
        const machine = await ground.driver.launch(spec, never());
        const hanging = runIn(machine, COMMANDS.hang);
        await meddle(socket, await containerOf(socket, spec.id));
        assert.equal((await hanging).end.kind, 'lost');
        await machine.gone;
        assert.equal((await runIn(machine, COMMANDS.exit(0))).end.kind, 'lost');
        await machine.close();
        await ground.driver.settled();
        assert.deepEqual(leftOf(ground), []);
      });
    }

    test('what another stream says to pid 1 is heard as little as its own output can be forged', async () => {
      await using ground = await openGround('docker');
      const machine = await ground.driver.launch(specFor(ground.host), never());
      // The pipes of pid 1 are where its lanes are; none of them can be opened again from inside.
      const tried = await runIn(machine, ['sh', '-c', 'for fd in 0 1 2 3 4 5; do echo x >/proc/1/fd/$fd || cat </proc/1/fd/$fd; done; ls /proc/1/fd']);
      assert.match(tried.stderr.toString(), /Permission denied/);
      assert.equal(tried.stdout.toString(), '');
      assert.deepEqual((await runIn(machine, COMMANDS.exit(7))).end, { kind: 'exited', code: 7 });
      await machine.close();
    });
  });

  suite('what Docker cannot deliver', () => {
    const withWorkspace = (spec: IsolationSpec): IsolationSpec => ({
      ...spec, mounts: spec.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === '/workspace' ? { kind: 'workspace', workspace: 'ws-0123456789abcdef' } : mount)),
    });
    const REFUSED: readonly (readonly [what: string, (spec: IsolationSpec) => IsolationSpec, words: RegExp])[] = [
      ['a persistent workspace', withWorkspace, /cannot mount a persistent workspace/],
      ['an image other than host', (spec) => ({ ...spec, image: DIGEST }), /runs the image host alone/],
    ];
    for (const [what, change, words] of REFUSED) {
      test(`LAUNCH_FAILED: a driver that is asked for ${what} says that Docker cannot, and leaves nothing`, async () => {
        await using ground = await openGround('docker');
        await assert.rejects(ground.driver.launch(change(specFor(ground.host)), never()), { code: 'LAUNCH_FAILED', message: words });
        assert.deepEqual(leftOf(ground), []);
      });
    }

    test('CHECKPOINT_UNAVAILABLE: memory of a sandbox in Docker is neither saved nor restored', async () => {
      await using ground = await openGround('docker');
      const spec = specFor(ground.host);
      const machine = await ground.driver.launch(spec, never());
      await assert.rejects(async () => machine.checkpoint?.(`${ground.base}/checkpoint`), { code: 'CHECKPOINT_UNAVAILABLE', message: /docker cannot save processes/ });
      await machine.close();
      const restoring = restoreOn(roomOf(ground), spec, `${ground.base}/checkpoint`, { ...never(), adopt: () => ({ onOutput: async () => undefined }) });
      await assert.rejects(restoring, { code: 'CHECKPOINT_UNAVAILABLE', message: /docker cannot restore processes/ });
    });
  });

  suite('a Docker daemon', () => {
    test('that maps no ids is no runtime, and the host says why', async (t) => {
      const dockerd = await startDockerd(findDockerd() ?? '', { remapped: false });
      t.after(() => dockerd[Symbol.asyncDispose]());
      const { runtimes, missing } = await probeHost({ extraPath: [], initBinary: '/no/such/init', without: ['crun', 'runc'], dockerHost: `unix://${dockerd.socket}` });
      assert.deepEqual(runtimes.filter(({ name }) => name === 'docker'), []);
      assert.match(missing.container?.what ?? '', /maps no ids: root inside would be root of the host/);
      assert.match(missing.container?.how ?? '', /--userns-remap=default/);
    });

    test('that is killed leaves its sandboxes lost, and what it held goes with the sweeps after it is back', async (t) => {
      const { dockerd, ground, left } = await openDaemon(t);
      const specs = [specFor(ground.host), specFor(ground.host)];
      const [closed, open] = await Promise.all(specs.map((spec) => ground.driver.launch(spec, never())));
      assert.ok(closed !== undefined && open !== undefined);
      const hanging = [closed, open].map((machine) => runIn(machine, COMMANDS.hang));
      await delay(100);
      await dockerd.kill();
      assert.deepEqual((await Promise.all(hanging)).map(({ end }) => end.kind), ['lost', 'lost']);
      await closed.close();
      await ground.driver.settled();
      assert.deepEqual(pidsOf(ground, specs[0]?.id ?? ''), [], 'closing ends the processes without the daemon');
      assert.notDeepEqual(left(), [], 'nobody but the daemon can give back what it holds');
      await dockerd.restart();
      assert.deepEqual((await sweepAll(ground, left)).toSorted(), specs.map(({ id }) => id).toSorted());
      assert.deepEqual(left(), []);
      const again = await ground.driver.launch(specFor(ground.host), never());
      assert.deepEqual((await runIn(again, COMMANDS.exit(3))).end, { kind: 'exited', code: 3 });
      await again.close();
      await ground.driver.settled();
      assert.deepEqual(left(), []);
    });
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSilence } from 'node:net';
import { tmpdir, release } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import type { HostFacts } from '@caisson/contract';
import { probeHost } from '@caisson/runtime';
import { leastOf } from '../least.ts';
import { IS_ROOT } from './given.ts';

const VERSION = { ApiVersion: '1.41', MinAPIVersion: '1.12', Version: '20.10.24', Os: 'linux', KernelVersion: release() };
const INFO = {
  SecurityOptions: ['name=seccomp,profile=default', 'name=userns'],
  CgroupDriver: 'cgroupfs', CgroupVersion: '1', Runtimes: { runc: { path: 'runc' } },
  MemoryLimit: true, SwapLimit: true, CpuCfsQuota: true, PidsLimit: true,
};

/** A host without crun and runc: what it lacks is said by the daemon alone. */
function look(dockerHost: string): Promise<HostFacts> {
  return probeHost({ extraPath: [], initBinary: '/no/such/init', without: ['crun', 'runc', 'runsc'], dockerHost });
}

function socketOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-probe-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'docker.sock');
}

/** A daemon that answers two questions, but for the first few requests. */
async function daemonThatSays(t: TestContext, version: object, info: object, { silentFor = 0 } = {}): Promise<string> {
  const path = socketOf(t);
  let asked = 0;
  const server = createServer(({ url }, response) => {
    asked += 1;
    if (asked > silentFor) response.end(JSON.stringify(url?.endsWith('/version') === true ? version : info));
  });
  await new Promise<void>((done) => server.listen(path, done));
  t.after(() => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  }));
  return `unix://${path}`;
}

suite('looking for a Docker daemon', { skip: IS_ROOT ? false : 'needs root: no other daemon is used' }, () => {
  const cgroupVersion = async (): Promise<string> => ((await look('')).cgroup.mode === 'v2' ? '2' : '1');

  test('one that delivers all that a sandbox promises is a runtime of level container', async (t) => {
    const host = await look(await daemonThatSays(t, VERSION, { ...INFO, CgroupVersion: await cgroupVersion() }));
    assert.deepEqual(host.runtimes.map(({ name, guestKernel, userInside, mountsWorkspaces, mountsImages, networks, checkpoint }) => ({ name, guestKernel, userInside, mountsWorkspaces, mountsImages, networks, checkpoint })), [
      { name: 'docker', guestKernel: 'host', userInside: 'own', mountsWorkspaces: false, mountsImages: false, networks: true, checkpoint: false },
    ]);
    assert.equal(host.missing.container, null);
  });

  test('one that was busy when it was asked first is asked once more', async (t) => {
    const own = { ...INFO, CgroupVersion: await cgroupVersion() };
    assert.equal((await look(await daemonThatSays(t, VERSION, own, { silentFor: 2 }))).runtimes.length, 1);
  });

  const WEAK: readonly (readonly [what: string, version: object, info: object, words: RegExp])[] = [
    ['maps no ids', {}, { SecurityOptions: ['name=seccomp,profile=default'] }, /maps no ids/],
    ['says nothing of its security', {}, { SecurityOptions: null }, /maps no ids/],
    ['is rootless', {}, { SecurityOptions: [...INFO.SecurityOptions, 'name=rootless'] }, /runs rootless/],
    ['has no seccomp', {}, { SecurityOptions: ['name=userns'] }, /applies no seccomp filter/],
    ['is on another machine', { KernelVersion: '5.10.0-linuxkit' }, {}, /another kernel/],
    ['is too old', { ApiVersion: '1.40' }, {}, /speaks the API 1\.12 to 1\.40/],
    ['is too new', { MinAPIVersion: '1.44', ApiVersion: '1.60' }, {}, /speaks the API 1\.44 to 1\.60/],
    ['has no runc', {}, { Runtimes: { runsc: {} } }, /no runtime runc/],
    ['leaves its groups to systemd', {}, { CgroupDriver: 'systemd' }, /leaves control groups to systemd/],
    ['cannot limit processes', {}, { PidsLimit: false }, /cannot limit processes/],
    ['cannot limit memory and CPU', {}, { MemoryLimit: false, CpuCfsQuota: false }, /cannot limit memory and CPU/],
    ['answers something else', {}, { CgroupDriver: 7 }, /does not answer as one does/],
  ];
  for (const [what, version, info, words] of WEAK) {
    test(`one that ${what} is none, and the host says so and what to do`, async (t) => {
      const own = { ...INFO, CgroupVersion: await cgroupVersion() };
      const { runtimes, missing } = await look(await daemonThatSays(t, { ...VERSION, ...version }, { ...own, ...info }));
      assert.deepEqual(runtimes, []);
      assert.match(missing.container?.what ?? '', words);
      assert.match(missing.container?.how ?? '', /, or \S/);
    });
  }

  test('one that sees other control groups than this host has is none', async (t) => {
    const other = (await cgroupVersion()) === '1' ? '2' : '1';
    const { missing } = await look(await daemonThatSays(t, VERSION, { ...INFO, CgroupVersion: other }));
    assert.match(missing.container?.what ?? '', /sees other control groups/);
  });

  for (const dockerHost of ['tcp://127.0.0.1:2375', 'ssh://root@host', 'unix://relative.sock', '127.0.0.1:2375']) {
    test(`one at ${dockerHost} is refused without being asked`, async () => {
      const { runtimes, missing } = await look(dockerHost);
      assert.deepEqual(runtimes, []);
      assert.match(missing.container?.what ?? '', /is not behind a socket of this host/);
    });
  }

  test('one that DOCKER_HOST names and that is not there is missed by name', async (t) => {
    const path = socketOf(t);
    const { missing } = await look(`unix://${path}`);
    assert.ok(missing.container?.what.includes(`there is no Docker daemon at ${path}`));
  });

  test('one that never answers holds a start up for less than a second', async (t) => {
    const path = socketOf(t);
    const open = new Set<{ destroy(): unknown }>();
    const silence = createSilence((socket) => void open.add(socket.on('error', () => undefined)));
    await new Promise<void>((done) => silence.listen(path, done));
    t.after(() => new Promise((done) => {
      for (const socket of open) socket.destroy();
      silence.close(done);
    }));
    await look(`unix:///no/such/socket`); // what is loaded once is loaded
    const tookMs = await leastOf(1_000, async () => {
      const start = performance.now();
      const { missing } = await look(`unix://${path}`);
      const each = performance.now() - start;
      assert.match(missing.container?.what ?? '', /does not answer as one does/);
      return each;
    });
    assert.ok(tookMs < 1_000, `${tookMs} ms`);
  });

  test('where nobody has one, nothing is said of one', async (t) => {
    if ((await look('')).runtimes.length > 0) return t.skip('this host has a daemon');
    assert.doesNotMatch((await look('')).missing.container?.what ?? '', /is not behind a socket|there is no Docker/);
  });
});

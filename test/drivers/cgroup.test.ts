import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import type { HostFacts } from '@caisson/contract';
import { cgroupAt, killAll, readUsage, readWork, removeCgroup } from '@caisson/runtime';
import { leastOf } from '../least.ts';

const PATH = '/caisson/instance/sbx-0';
const CONTROLLERS = ['cpu', 'cpuacct', 'memory', 'pids', 'systemd'];
const host = (mode: HostFacts['cgroup']['mode']): HostFacts['cgroup'] => ({ mode, writable: true, controllers: mode === 'v2' ? ['cpu', 'memory', 'pids'] : CONTROLLERS, swapAccounting: false });

/** A hierarchy of plain files in place of the kernel's. */
function fixture(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'caisson-cgroup-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(`${root}/${name}`), { recursive: true });
    writeFileSync(`${root}/${name}`, text);
  }
  return root;
}

const V2 = {
  [`${PATH}/cpu.stat`]: 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n',
  [`${PATH}/io.stat`]: '8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n',
  [`${PATH}/memory.peak`]: '10485760\n',
  [`${PATH}/pids.peak`]: '12\n',
  [`${PATH}/memory.events`]: 'low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n',
};
const V1 = {
  [`cpuacct${PATH}/cpuacct.usage`]: '1234567890\n',
  [`blkio${PATH}/blkio.throttle.io_service_bytes`]: '8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 0\n8:0 Total 12288\n8:16 Read 512\n8:16 Write 0\nTotal 12800\n',
  [`memory${PATH}/memory.max_usage_in_bytes`]: '10485760\n',
  [`memory${PATH}/memory.oom_control`]: 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
  [`pids${PATH}/pids.peak`]: '12\n',
};
const USED = { cpuMs: 1235, memoryPeakBytes: 10_485_760, pidsPeak: 12, oomKills: 1 };

suite('control groups', () => {
  for (const [mode, files] of [['v2', V2], ['v1', V1], ['hybrid', V1]] as const) {
    test(`what was used is read from a ${mode} hierarchy`, async (t) => {
      assert.deepEqual(await readUsage(cgroupAt(PATH, host(mode), fixture(t, files))), USED);
    });

    test(`what was used of processors and block devices is read from a ${mode} hierarchy, and null where it has none of it`, async (t) => {
      assert.deepEqual(await readWork(cgroupAt(PATH, host(mode), fixture(t, files))), { cpuUs: 1_234_567 + (mode === 'v2' ? 0 : 1), readBytes: 4608, writtenBytes: 8192 });
      assert.deepEqual(await readWork(cgroupAt(PATH, host(mode), fixture(t, {}))), { cpuUs: null, readBytes: null, writtenBytes: null });
    });

    test(`what a ${mode} kernel does not say is null, never 0`, async (t) => {
      assert.deepEqual(await readUsage(cgroupAt(PATH, host(mode), fixture(t, {}))), { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null });
      const max = Object.fromEntries(Object.keys(files).map((name) => [name, 'max\n']));
      assert.deepEqual(await readUsage(cgroupAt(PATH, host(mode), fixture(t, max))), { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null });
    });

    test(`the folders of a ${mode} hierarchy are removed, and those of others stay`, async (t) => {
      const root = fixture(t, {});
      const [group, other] = [PATH, '/caisson/instance/sbx-1'].map((path) => cgroupAt(path, host(mode), root));
      assert.ok(group !== undefined && other !== undefined);
      for (const folder of [...group.folders, ...other.folders]) mkdirSync(folder, { recursive: true });
      await removeCgroup(group);
      assert.deepEqual(group.folders.filter((folder) => existsSync(folder)), []);
      assert.deepEqual(other.folders.filter((folder) => !existsSync(folder)), []);
      assert.equal(group.folders.length, mode === 'v2' ? 1 : CONTROLLERS.length);
    });
  }

  test('a plain folder that a runtime made under a hidden unified mount is removed with its file', async (t) => {
    const root = fixture(t, { [`unified${PATH}/cgroup.procs`]: '1' });
    await removeCgroup(cgroupAt(PATH, host('v1'), root));
    assert.equal(existsSync(`${root}/unified${PATH}`), false);
  });

  test('a pid in such a plain file is nobody\'s, and never signalled', async (t) => {
    const child = spawn('sleep', ['30']);
    t.after(() => child.kill('SIGKILL'));
    const root = fixture(t, { [`unified${PATH}/cgroup.procs`]: `${child.pid}\n` });
    assert.equal(await killAll(cgroupAt(PATH, host('hybrid'), root), 100), true);
    assert.equal(child.kill(0), true);
    assert.equal(child.signalCode, null);
  });

  for (const mode of ['v1', 'v2'] as const) {
    test(`every process that a ${mode} group lists is killed, and none is left when that resolves`, async (t) => {
      const root = fixture(t, {});
      const group = cgroupAt(PATH, host(mode), root);
      const file = `${group.folders[0]}/cgroup.procs`;
      mkdirSync(dirname(file), { recursive: true });
      const children = [spawn('sleep', ['30']), spawn('sleep', ['30'])];
      const running = new Set(children.map(({ pid }) => pid));
      const list = (): void => writeFileSync(file, [...running].map((pid) => `${pid}\n`).join(''));
      for (const child of children) {
        child.once('exit', () => {
          running.delete(child.pid);
          list();
        });
      }
      list();
      assert.equal(await killAll(group), true);
      assert.deepEqual(children.map(({ signalCode }) => signalCode), ['SIGKILL', 'SIGKILL']);
    });
  }

  test('a process that the kernel lists as 0, because it is out of sight, is not taken for the own process group', async (t) => {
    const root = fixture(t, { [`${PATH}/cgroup.procs`]: '0\n0\n' });
    const script = `import { cgroupAt, killAll } from '@caisson/runtime';
      await killAll(cgroupAt('${PATH}', ${JSON.stringify(host('v2'))}, '${root}'), 50);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname, detached: true, stdio: 'ignore' });
    const end = await new Promise((done) => child.once('exit', (code, signal) => done(signal ?? code)));
    assert.equal(end, 0);
  });

  test('killing gives up in time when a process does not go, and says so', async (t) => {
    const root = fixture(t, { [`${PATH}/cgroup.procs`]: '4194305\n' }); // above any pid that can exist
    const tookMs = await leastOf(1_000, async () => {
      const start = performance.now();
      assert.equal(await killAll(cgroupAt(PATH, host('v2'), root), 200), false);
      return performance.now() - start;
    });
    assert.ok(tookMs < 1_000, `${tookMs} ms`);
  });
});

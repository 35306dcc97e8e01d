import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { HOME } from '../harness.ts';
import { noInternet } from './internet/internet.ts';

const TOOL = `${HOME}/build/native/caisson-gate`;
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const SOON_MS = 10_000;
const GROUP = `caisson-join-${randomBytes(6).toString('hex')}`;
const folder = `${['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find((root) => existsSync(`${root}/cgroup.procs`)) ?? ''}/${GROUP}`;

describe('a link into a namespace that somebody else has made', { skip: noInternet(), concurrency: false }, () => {
  let holder: ChildProcess;
  let gate: readonly [netns: string, inode: string];
  const started: ChildProcess[] = [];
  before(async () => {
    mkdirSync(folder);
    holder = spawn(TOOL, ['hold', `${HOME}/profiles/egress/gate.nft`], { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH } });
    await once(holder.stdout ?? holder, 'data');
    gate = [`/proc/${holder.pid}/ns/net`, `${statSync(`/proc/${holder.pid}/ns/net`).ino}`];
  });
  const endAll = async (): Promise<void> => {
    for (const each of started.splice(0)) {
      const ended = each.exitCode !== null || each.signalCode !== null ? undefined : once(each, 'exit');
      each.kill('SIGKILL');
      await ended;
    }
  };
  afterEach(endAll);
  after(async () => {
    holder?.kill('SIGKILL');
    for (const untilMs = performance.now() + SOON_MS; ; await delay(20)) {
      try {
        return rmdirSync(folder);
      } catch (error) {
        if (performance.now() > untilMs) throw error;
      }
    }
  });

  /** A process that says when it is where it is to be. */
  const processIn = async (argv: readonly string[], grouped = true): Promise<number> => {
    const [program, ...args] = [...argv, 'sh', '-c', 'echo; exec sleep 600'];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH } });
    started.push(child);
    await once(child.stdout ?? child, 'data');
    if (grouped) writeFileSync(`${folder}/cgroup.procs`, `${child.pid}`);
    return child.pid ?? 0;
  };
  const join = (pid: number, { name = 's7', group = GROUP, at = gate }: { readonly name?: string; readonly group?: string; readonly at?: readonly string[] } = {}): string => spawnSync(TOOL, ['join', ...at, name, '198.19.0.7', `${pid}`, group], { encoding: 'utf8' }).stderr.trim();
  const unlink = (...names: readonly string[]): string => spawnSync(TOOL, ['unlink', ...gate, ...names], { encoding: 'utf8' }).stderr.trim();
  const show = (netns: string): string => execFileSync('nsenter', [`--net=${netns}`, 'ip', '-brief', 'address'], { encoding: 'utf8', env: { PATH } });
  const links = (): readonly string[] => [...show(gate[0]).matchAll(/^(s\d+)/gm)].map(([, name]) => name ?? '');

  test('control: a process of the group in a namespace of its own is linked, and unlinked as often as is wanted', async () => {
    const pid = await processIn(['unshare', '--net']);
    assert.equal(join(pid), '');
    assert.deepEqual(links(), ['s7']);
    assert.match(show(`/proc/${pid}/ns/net`), /^eth0.*198\.19\.0\.7\/32/m);
    for (const names of [['s8'], ['s7'], ['s7'], []]) assert.equal(unlink(...names), '');
    assert.deepEqual(links(), []);
    assert.doesNotMatch(show(`/proc/${pid}/ns/net`), /eth0/, 'both ends are gone');
  });

  test('all links go at once', async () => {
    for (const name of ['s7', 's9']) assert.equal(spawnSync(TOOL, ['join', ...gate, name, `198.19.0.${name.slice(1)}`, `${await processIn(['unshare', '--net'])}`, GROUP], { encoding: 'utf8' }).stderr, '');
    assert.deepEqual(links(), ['s7', 's9']);
    assert.equal(unlink(), '');
    assert.deepEqual(links(), []);
  });

  test('a process whose number came again is not linked: it is of another group', async () => {
    const pid = await processIn(['unshare', '--net'], false);
    assert.equal(join(pid), 'process: ESRCH');
    assert.equal(join(pid, { group: GROUP.slice(0, -1) }), 'process: ESRCH', 'a part of a name is none');
    assert.deepEqual(links(), []);
  });

  test('a process that has gone is not linked', async () => {
    const pid = await processIn(['unshare', '--net']);
    await endAll();
    assert.equal(join(pid), 'process: ENOENT');
    assert.deepEqual(links(), []);
  });

  test('neither the namespace of the host nor that of the gate is linked', async () => {
    assert.equal(join(await processIn([])), 'namespace: EINVAL');
    assert.equal(join(await processIn(['nsenter', `--net=${gate[0]}`])), 'namespace: EINVAL');
    assert.deepEqual(links(), []);
  });

  test('a namespace that has another way out is not linked', async () => {
    const pid = await processIn(['unshare', '--net', 'sh', '-c', 'ip link add other type veth peer name more && exec "$@"', 'sh']);
    assert.match(join(pid), /^(other|more): EEXIST$/);
    assert.deepEqual(links(), []);
  });

  test('a namespace is linked once, and to no gate but the one that is meant', async () => {
    const pid = await processIn(['unshare', '--net']);
    assert.match(join(pid, { at: [gate[0], '1'] }), /: ESTALE$/);
    assert.equal(join(pid), '');
    assert.equal(join(pid, { name: 's8' }), 'eth0: EEXIST');
    const other = await processIn(['unshare', '--net']);
    assert.equal(join(other), 'link: EEXIST', 'a link that another has is not taken from it');
    assert.doesNotMatch(show(`/proc/${other}/ns/net`), /eth0/);
    assert.deepEqual(links(), ['s7']);
    unlink();
  });
});

import assert from 'node:assert/strict';
import { chownSync, cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import type { IsolationSpec } from '@caisson/contract';
import { attest } from '@caisson/sandbox';
import { hideUnifiedCgroup } from '@caisson/runtime';
import { againInOwnMounts, leftOf, needsOwnMounts, pidsOf, read, specFor } from '../drivers/given.ts';
import { checkpoint, forkOf, lacks, launch, openMemoryGround, restore, start, type MemoryGround, type Restored, type Started } from './given.ts';

/** Counts in memory, one line each time. */
const COUNTER = `
import time
kept = []
while True:
    kept.append(len(kept) + 1)
    print(kept[-1], sum(kept), flush=True)
    time.sleep(0.02)
`;
/** Answers each line with what a program sees of who and when it is. */
const ORACLE = `
import os, socket, sys, time
for line in sys.stdin:
    with open('/dev/urandom', 'rb') as random:
        print(os.getrandom(16).hex(), random.read(16).hex(), time.time(), time.monotonic(), socket.gethostname(), os.getpid(), flush=True)
`;
const PYTHON = (script: string): string[] => ['python3', '-uc', script];
const KILLED = { kind: 'signaled', signal: 9 };

function forks(skip: string | false): void {
  suite('memory that is saved and started again', { skip }, () => {
    let memory: MemoryGround;
    let spec: IsolationSpec;
    before(async () => {
      if (skip !== false) return;
      memory = await openMemoryGround();
      spec = specFor(memory.ground.host);
    });
    after(() => memory?.[Symbol.asyncDispose]());

    /** Starts one sandbox, has `use` fork it as often as it likes, and sees that nothing of any of them is left. */
    async function withSandbox(use: (original: Awaited<ReturnType<typeof launch>>, fork: (folder: string, hostname?: string) => Promise<Restored>) => Promise<void>): Promise<void> {
      const { ground } = memory;
      const original = await launch(ground, { ...spec, id: specFor(ground.host).id });
      const machines = [original];
      try {
        await use(original, async (folder, hostname) => {
          const restored = await restore(ground, forkOf(spec, ground, hostname), folder);
          machines.push(restored.machine);
          return restored;
        });
      } finally {
        await Promise.all(machines.map((machine) => machine.close()));
        await ground.driver.settled();
      }
      assert.deepEqual(leftOf(ground), []);
    }

    const of = ({ execs }: Restored, memo: string): Started => {
      const found = execs.get(memo);
      assert.ok(found !== undefined, `no exec ${memo} goes on`);
      return found;
    };
    const counts = (lines: readonly string[]): number[] => lines.map((line) => Number(line.split(' ')[0]));
    const fromTo = (first: number, length: number): number[] => Array.from({ length }, (_, index) => first + index);

    test('a process under way goes on in a fork from where it was, and in the original as if nothing had been', () => withSandbox(async (original, fork) => {
      const counter = start(original, 'counter', PYTHON(COUNTER));
      const beforeIt = (await counter.output.reach(10)).length;
      const folder = memory.place();
      await checkpoint(original, folder);
      const afterIt = counter.output.lines.length;
      const forked = of(await fork(folder), 'counter');
      const lines = await forked.output.reach(20);
      const numbers = counts(lines);
      const [first = 0] = numbers;
      assert.ok(first > beforeIt && first <= afterIt + 1, `${first} is from between ${beforeIt} and ${afterIt}`);
      assert.deepEqual(numbers, fromTo(first, numbers.length), 'the fork counts on without a gap');
      assert.equal(Number(lines[0]?.split(' ')[1]), (first * (first + 1)) / 2, 'its list is whole');
      const all = counts(await counter.output.reach(afterIt + 20));
      assert.deepEqual(all, fromTo(1, all.length), 'the original has lost no line and said none twice');
      forked.exec.kill();
      assert.deepEqual((await forked.exec.done).end, KILLED);
      const now = counter.output.lines.length;
      await counter.output.reach(now + 5);
    }));

    test('stdin and output of an exec belong to each copy alone, and its end is told with all it wrote', () => withSandbox(async (original, fork) => {
      const cat = start(original, 'cat', ['cat'], { stdin: true });
      await cat.exec.writeStdin(Buffer.from('both\n'));
      await cat.output.reach(1);
      const folder = memory.place();
      await checkpoint(original, folder);
      const copy = of(await fork(folder), 'cat');
      await Promise.all([cat.exec.writeStdin(Buffer.from('original\n')), copy.exec.writeStdin(Buffer.from('fork\n'))]);
      await Promise.all([cat.exec.endStdin(), copy.exec.endStdin()]);
      assert.deepEqual(await cat.exec.done, { end: { kind: 'exited', code: 0 }, written: { stdout: 14, stderr: 0 } });
      assert.deepEqual(await copy.exec.done, { end: { kind: 'exited', code: 0 }, written: { stdout: 10, stderr: 0 } });
      assert.deepEqual([cat.output.stdout, copy.output.stdout], ['both\noriginal\n', 'fork\n']);
    }));

    test('a flood of output that is cut in two by a checkpoint is whole in the original and in the fork', () => withSandbox(async (original, fork) => {
      const total = 30_000;
      const flood = start(original, 'flood', PYTHON(`for n in range(${total}): print('%099d' % n)`));
      await flood.output.reach(500);
      const folder = memory.place();
      await checkpoint(original, folder);
      const copy = of(await fork(folder), 'flood');
      const ends = await Promise.all([flood.exec.done, copy.exec.done]);
      const whole = { end: { kind: 'exited', code: 0 }, written: { stdout: total * 100, stderr: 0 } };
      assert.deepEqual(ends, [whole, whole]);
      assert.equal(flood.output.stdout.length, total * 100);
      assert.ok(copy.output.stdout.length > 0, 'the fork had something left to say');
      assert.ok(flood.output.stdout.endsWith(copy.output.stdout));
    }));

    test('commands and stdin that are sent while memory is saved arrive in the original, once, and not in the fork', () => withSandbox(async (original, fork) => {
      const cat = start(original, 'cat', ['cat'], { stdin: true });
      const folder = memory.place();
      const saving = checkpoint(original, folder);
      while (!existsSync(`${folder}.partial/checkpoint.img`)) await delay(1); // the runtime is at work, and pid 1 is quiet
      const meanwhile = start(original, 'meanwhile', ['echo', 'here']);
      await cat.exec.writeStdin(Buffer.alloc(60_000, 'x'));
      await Promise.all([saving, meanwhile.exec.done]);
      const restored = await fork(folder);
      const copy = of(restored, 'cat');
      assert.equal(meanwhile.output.stdout, 'here\n');
      assert.deepEqual([...restored.execs.keys()], ['cat'], 'what pid 1 had not heard of is not in its memory');
      await copy.exec.writeStdin(Buffer.alloc(200_000, 'y'));
      await Promise.all([cat.exec.endStdin(), copy.exec.endStdin()]);
      assert.deepEqual([(await cat.exec.done).written.stdout, (await copy.exec.done).written.stdout], [60_000, 200_000]);
    }));

    test('two forks of one checkpoint draw other random numbers, know the time and have their own host names', () => withSandbox(async (original, fork) => {
      const oracle = start(original, 'oracle', PYTHON(ORACLE), { stdin: true });
      await oracle.exec.writeStdin(Buffer.from('ready?\n'));
      await oracle.output.reach(1);
      const folder = memory.place();
      await checkpoint(original, folder);
      await delay(1_200);
      const copies = [oracle, of(await fork(folder, 'caisson-one'), 'oracle'), of(await fork(folder, 'caisson-two'), 'oracle')];
      const said = await Promise.all(copies.map(async ({ exec, output }) => {
        for (let turn = 1; ; turn++) { // a machine that stands still between the two clocks makes them differ
          const seen = output.lines.length;
          await exec.writeStdin(Buffer.from('who?\n'));
          const [getrandom, urandom, wall, monotonic, hostname, pid] = (await output.reach(seen + 1)).at(-1)?.split(' ') ?? [];
          const lateMs = Date.now() - 1_000 * Number(wall);
          if (Math.abs(lateMs) < 1_000 || turn === 3) return { getrandom, urandom, lateMs, monotonic: Number(monotonic), hostname, pid };
        }
      }));
      assert.equal(new Set(said.flatMap(({ getrandom, urandom }) => [getrandom, urandom])).size, 6);
      assert.deepEqual(said.map(({ hostname }) => hostname), ['caisson', 'caisson-one', 'caisson-two']);
      assert.equal(new Set(said.map(({ pid }) => pid)).size, 1, 'pids stay');
      for (const { lateMs } of said) assert.ok(Math.abs(lateMs) < 1_000, `the wall clock is ${lateMs} ms off`);
      const first = Number(oracle.output.lines[0]?.split(' ')[3]);
      for (const { monotonic } of said) assert.ok(monotonic > first + 1, 'time that passed has passed for the fork too');
    }));

    test('a fork runs as other uids of the host, says anew what holds in it, and that is what its spec says', () => withSandbox(async (original, fork) => {
      const sleeper = start(original, 'sleeper', ['sleep', '60']);
      await delay(200);
      const folder = memory.place();
      await checkpoint(original, folder);
      const { machine } = await fork(folder, 'caisson-other');
      const { ground } = memory;
      const ids = readdirSync(`${ground.base}/sandboxes`);
      const uids = ids.map((id) => new Set(pidsOf(ground, id).map((pid) => /^Uid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1])));
      assert.equal(ids.length, 2);
      const [one = new Set(), two = new Set()] = uids;
      assert.ok(one.size > 0 && two.size > 0 && one.isDisjointFrom(two), 'no uid of the host is shared');
      assert.equal(machine.hello.otherProcesses, 1);
      const wanted = { ...spec, hostname: 'caisson-other' };
      assert.deepEqual(attest(wanted, { ...machine, hello: { ...machine.hello, otherProcesses: 0 } }, ground.host).findings, []);
      assert.equal((await start(machine, 'new', ['true']).exec.done).end.kind, 'exited');
      sleeper.exec.kill();
    }));

    test('memory file systems, deleted files, pipes between processes and a listening server are there in a fork', () => withSandbox(async (original, fork) => {
      const script = `
import os, socket, sys
kept = open('/workspace/deleted', 'w+'); kept.write('kept'); kept.flush(); os.unlink('/workspace/deleted')
open('/tmp/file', 'w').write('there'); open('/dev/shm/file', 'w').write('too')
r, w = os.pipe(); os.write(w, b'pipe')
server = socket.create_server(('127.0.0.1', 8080))
print('up', flush=True)
while True:
    peer, _ = server.accept()
    kept.seek(0)
    peer.sendall((kept.read() + ' ' + os.read(r, 4).decode() + ' ' + open('/tmp/file').read() + ' ' + open('/dev/shm/file').read()).encode())
    os.write(w, b'pipe')
    peer.close()
`;
      const server = start(original, 'server', PYTHON(script));
      await server.output.reach(1);
      const folder = memory.place();
      await checkpoint(original, folder);
      const { machine } = await fork(folder);
      for (const each of [original, machine]) {
        let answer = '';
        const connection = each.dial(8080, { onOutput: async (_stream, bytes) => void (answer += bytes.toString()) });
        await connection.endStdin();
        await connection.done;
        assert.equal(answer, 'kept pipe there too');
      }
    }));

    test('a connection into the sandbox goes on in the original, and its copy in the fork is ended', () => withSandbox(async (original, fork) => {
      const script = "import socket\ns = socket.create_server(('127.0.0.1', 8081))\nprint('up', flush=True)\np, _ = s.accept()\nwhile True:\n    got = p.recv(100)\n    print('got', len(got), flush=True)\n    if not got: break\n    p.sendall(got)\n";
      const server = start(original, 'server', PYTHON(script));
      await server.output.reach(1);
      let answer = '';
      const connection = original.dial(8081, { onOutput: async (_stream, bytes) => void (answer += bytes.toString()) });
      await connection.writeStdin(Buffer.from('one'));
      await server.output.reach(2);
      const folder = memory.place();
      await checkpoint(original, folder);
      const restored = await fork(folder);
      const copy = of(restored, 'server');
      assert.deepEqual([...restored.execs.keys()], ['server'], 'nobody is on the other end of the copy');
      assert.deepEqual((await Promise.race([copy.exec.done, delay(10_000, null, { ref: false })]))?.end.kind, 'exited', 'it saw the connection end');
      await connection.writeStdin(Buffer.from('two'));
      await connection.endStdin();
      await connection.done;
      assert.equal(answer, 'onetwo');
    }));

    test('a terminal goes on in a fork', () => withSandbox(async (original, fork) => {
      const shell = start(original, 'shell', ['sh', '-i'], { tty: { cols: 80, rows: 24 }, env: ['PATH=/usr/bin', 'PS1=> '] });
      await shell.exec.writeStdin(Buffer.from('secret=42\n'));
      await shell.output.reach(1);
      const folder = memory.place();
      await checkpoint(original, folder);
      const copy = of(await fork(folder), 'shell');
      copy.exec.resize(100, 30);
      await copy.exec.writeStdin(Buffer.from('echo $secret-$((secret+1)); stty size; exit 5\n'));
      assert.deepEqual((await copy.exec.done).end, { kind: 'exited', code: 5 });
      assert.match(copy.output.stdout, /42-43[^]*30 100/);
      shell.exec.kill();
    }));

    test('a command that is saved before its start is seen goes on in a fork, where it counts as begun by nobody', () => withSandbox(async (original, fork) => {
      const early = start(original, 'early', ['cat'], { stdin: true });
      const folder = memory.place();
      await checkpoint(original, folder); // asked for on the lane on which the command is: pid 1 sees the silence before the start
      const restored = await fork(folder);
      const copy = of(restored, 'early');
      await Promise.all([early.exec.endStdin(), copy.exec.endStdin()]);
      assert.deepEqual((await copy.exec.done).end, { kind: 'exited', code: 0 });
      assert.deepEqual((await early.exec.done).end, { kind: 'exited', code: 0 });
      assert.deepEqual((await start(restored.machine, 'after', ['true']).exec.done).end, { kind: 'exited', code: 0 });
    }));

    test('what an exec had left of its time is what it has left in a fork, and the fork itself stays', () => withSandbox(async (original, fork) => {
      const limited = start(original, 'limited', ['sleep', '60'], { ownLimits: { wallMs: 12_000, cpuMs: 60_000 } });
      const busy = start(original, 'busy', ['sh', '-c', 'while :; do :; done'], { ownLimits: { wallMs: 60_000, cpuMs: 7_000 } });
      await delay(4_000);
      const folder = memory.place();
      await checkpoint(original, folder);
      const restored = await fork(folder);
      const startedMs = Date.now();
      assert.deepEqual((await of(restored, 'busy').exec.done).end, { kind: 'timed-out', limit: 'cpu' });
      assert.deepEqual((await of(restored, 'limited').exec.done).end, { kind: 'timed-out', limit: 'wall' });
      assert.ok(Date.now() - startedMs < 11_000, `${Date.now() - startedMs} ms`);
      assert.equal((await start(restored.machine, 'after', ['true']).exec.done).end.kind, 'exited');
      await Promise.all([limited.exec.done, busy.exec.done]);
    }));

    test('a fork is forked in turn, a checkpoint is used again and again, and pausing waits for saving', () => withSandbox(async (original, fork) => {
      const counter = start(original, 'counter', PYTHON(COUNTER));
      await counter.output.reach(3);
      const [first, second] = [memory.place(), memory.place()];
      const saving = checkpoint(original, first);
      await original.pause();
      await saving;
      await assert.rejects(checkpoint(original, second), { code: 'SANDBOX_STATE' });
      await original.resume();
      const one = await fork(first);
      await of(one, 'counter').output.reach(10);
      await checkpoint(one.machine, second);
      const two = of(await fork(second), 'counter');
      const numbers = counts(await two.output.reach(5));
      assert.deepEqual(numbers, fromTo(numbers[0] ?? 0, numbers.length));
      assert.ok((numbers[0] ?? 0) > 10);
      const again = counts(await of(await fork(first), 'counter').output.reach(2));
      assert.ok((again[0] ?? 0) < (numbers[0] ?? 0));
    }));

    test('a fork works in the workspace it is given, and one that lacks an open file is LAUNCH_FAILED and leaves nothing', async () => {
      const { ground } = memory;
      const folders = ['a', 'b', 'c'].map((name) => mkdtempSync(`/run/caisson-workspace-${name}-`));
      const [one = '', two = '', three = ''] = folders;
      const workspaceSpec = (id: string): IsolationSpec => ({
        ...spec, id: specFor(ground.host).id, mounts: spec.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === '/workspace' ? { kind: 'workspace', workspace: id } : mount)),
      });
      const give = (path: string) => async (hostUid: number): Promise<string> => {
        for (const each of [path, ...readdirSync(path).map((name) => `${path}/${name}`)]) chownSync(each, hostUid + 1, hostUid + 1);
        return path;
      };
      const signal = new AbortController().signal;
      const original = await ground.driver.launch(workspaceSpec('wsp-aaaaaaaaaaaaaaaa'), { signal, workspaceFor: give(one) });
      try {
        const writer = start(original, 'writer', PYTHON("import sys\nf = open('/workspace/log', 'a')\nfor line in sys.stdin:\n    f.write(line); f.flush(); print('ok', flush=True)\n"), { stdin: true });
        await writer.exec.writeStdin(Buffer.from('both\n'));
        await writer.output.reach(1);
        const folder = memory.place();
        await checkpoint(original, folder);
        cpSync(one, two, { recursive: true });
        const forked = await restore(ground, workspaceSpec('wsp-bbbbbbbbbbbbbbbb'), folder, { workspaceFor: give(two) });
        const copy = of(forked, 'writer');
        await copy.exec.writeStdin(Buffer.from('fork\n'));
        await copy.output.reach(1);
        await writer.exec.writeStdin(Buffer.from('original\n'));
        await writer.output.reach(2);
        await forked.machine.close();
        assert.deepEqual([one, two].map((path) => readFileSync(`${path}/log`, 'utf8')), ['both\noriginal\n', 'both\nfork\n']);
        await assert.rejects(restore(ground, workspaceSpec('wsp-cccccccccccccccc'), folder, { workspaceFor: give(three) }), { code: 'LAUNCH_FAILED' });
      } finally {
        await original.close();
        await ground.driver.settled();
        for (const path of folders) rmSync(path, { recursive: true, force: true });
      }
      assert.deepEqual(leftOf(ground), []);
    });

    test('a checkpoint is root\'s alone: memory is in it', () => withSandbox(async (original) => {
      const folder = memory.place();
      await checkpoint(original, folder);
      assert.equal(statSync(folder).mode & 0o777, 0o700);
      for (const name of readdirSync(folder)) assert.equal(statSync(`${folder}/${name}`).mode & 0o777, 0o600, name);
      assert.deepEqual(readdirSync(folder).toSorted(), ['checkpoint.img', 'manifest', 'pages.img', 'pages_meta.img']);
      writeFileSync(`${folder}/manifest`, '');
      await assert.rejects(restore(memory.ground, forkOf(spec, memory.ground), folder), { code: 'CHECKPOINT_INVALID' });
    }));
  });
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else {
  const skip = await lacks('runsc');
  if (skip === false) await hideUnifiedCgroup();
  forks(skip);
}

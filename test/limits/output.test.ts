import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { GIB, MIB, type RunRequest } from '@caisson/contract';
import { encodeFrame } from '@caisson/wire';
import { settledLeftovers } from '../faults/leftovers.ts';
import { IS_ROOT, NEEDS_ROOT, type Caisson } from '../harness.ts';
import { entriesBelow } from '../vault/host-search.ts';
import { atEachLevel, memoryKib, pidsOf, resetPeak, sharedInstance } from './given.ts';

const instance = sharedInstance();
const DAEMONS = ['supervisor', 'scribe', 'launcher', 'gate', 'control'];

/** Bytes of all files below a folder in which others work: a file that goes has none. */
function diskBytes(folder: string): number {
  return entriesBelow(folder)
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + (statSync(`${entry.parentPath}/${entry.name}`, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** By how much the peak memory of each daemon rises above what it holds now, in KiB, while `work` runs. */
async function rise(caisson: Caisson, work: () => Promise<void>): Promise<Readonly<Record<string, number>>> {
  const pids = await pidsOf(caisson);
  const before = DAEMONS.map((name) => memoryKib(pids[name] ?? 0, 'VmRSS'));
  for (const name of DAEMONS) resetPeak(pids[name] ?? 0);
  await work();
  return Object.fromEntries(DAEMONS.map((name, at) => [name, memoryKib(pids[name] ?? 0, 'VmHWM') - (before[at] ?? 0)]));
}

const RISE_KIB = 64 * 1024;

for (const [level, bytes] of [['container', 10 * GIB], ['gvisor', GIB]] as const) {
  atEachLevel(instance, `${bytes / GIB} GiB of stdout are cut at the cap, said so, and fill neither memory nor disk`, async (run, caisson) => {
    await run({ argv: ['sh', '-c', 'head -c 20M /dev/zero'] }); // what is needed once is not what is counted
    const before = diskBytes(caisson.dir);
    const risen = await rise(caisson, async () => {
      const { result, stdout } = await run({ argv: ['head', '-c', String(bytes), '/dev/zero'], limits: { cpuMillis: 2_000 } });
      assert.equal(result.exit, 0);
      assert.equal(stdout.length, 16 * MIB);
      assert.deepEqual({ ...result.output.stdout, sha256: '' }, { written: bytes, returned: 16 * MIB, truncated: true, sha256: '' });
    });
    assert.ok(Object.values(risen).every((kib) => kib < RISE_KIB), JSON.stringify(risen));
    assert.ok(diskBytes(caisson.dir) - before < 64 * 1024, 'only the record grew');
  }, [level]);
}

atEachLevel(instance, 'stdout and stderr have a cap each', async (run) => {
  const { result, stdout, stderr } = await run({
    argv: ['sh', '-c', 'head -c 300k /dev/zero; head -c 70k /dev/zero >&2; head -c 300k /dev/zero'],
    limits: { outputBytes: 100 * 1024 },
  });
  assert.deepEqual([stdout.length, stderr.length], [102_400, 71_680]);
  assert.deepEqual([result.output.stdout.written, result.output.stdout.truncated, result.output.stderr.truncated], [614_400, true, false]);
});

test('a client that reads nothing holds up its command and costs the daemons no memory', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const caisson = await instance();
  const request: RunRequest = { argv: ['head', '-c', '1G', '/dev/zero'], limits: { outputBytes: GIB } };
  const risen = await rise(caisson, async () => {
    const socket = connect(caisson.paths.controlSocket); // without a reader its data stays in the kernel
    socket.write(encodeFrame('message', 0, Buffer.from(JSON.stringify({ type: 'run', request }))));
    await delay(1_500);
    assert.equal((await caisson.control()).calls.length, 1, 'the command waits');
    socket.destroy();
  });
  assert.ok(Object.values(risen).every((kib) => kib < RISE_KIB), JSON.stringify(risen));
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
});

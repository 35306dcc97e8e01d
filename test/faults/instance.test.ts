import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { test } from 'node:test';
import { statePaths, type RunResult } from '@caisson/contract';
import { encodeFrame } from '@caisson/wire';
import { HOME, IS_ROOT, NEEDS_ROOT, runIn, startCaisson } from '../harness.ts';
import { leastOf } from '../least.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const OTHER_UID = 61_234;
const VICTIM_UID = 61_235;

test('a client does not speak to a socket below a folder that another user owns', { skip }, async (t) => {
  const home = mkdtempSync(`${tmpdir()}/caisson-test-`);
  const paths = statePaths({ env: { HOME: home }, uid: VICTIM_UID, resolve });
  const planted = dirname(dirname(paths.run));
  assert.ok(!existsSync(planted));
  mkdirSync(dirname(paths.controlSocket), { recursive: true });
  for (const path of [planted, dirname(paths.run), paths.run, dirname(paths.controlSocket)]) chownSync(path, OTHER_UID, OTHER_UID);
  const forged = { exit: 0, reason: '', ending: { kind: 'exited', code: 0 }, decision: { effect: 'allow' }, output: { stdout: {}, stderr: {} } };
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(encodeFrame('message', 0, Buffer.from(JSON.stringify({ type: 'result', result: forged }))));
  });
  await new Promise<void>((done) => server.listen(paths.controlSocket, done));
  chmodSync(paths.controlSocket, 0o777);
  t.after(() => {
    server.close();
    rmSync(planted, { recursive: true, force: true });
    rmSync(home, { recursive: true, force: true });
  });
  const answered = await runIn(paths, { argv: ['false'] }).then(({ result }): RunResult | null => result, () => null);
  assert.equal(answered, null, 'a forged result was believed');
});

test('a start that is refused because of its folder has written nothing through it', { skip }, (t) => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  const target = mkdtempSync(`${tmpdir()}/caisson-test-`);
  t.after(() => [dir, target].forEach((path) => rmSync(path, { recursive: true, force: true })));
  symlinkSync(target, `${dir}/log`);
  chownSync(dir, OTHER_UID, OTHER_UID);
  const { status } = spawnSync(`${HOME}/caisson`, ['up', '--detach'], { env: { ...process.env, CAISSON_DIR: dir } });
  assert.notEqual(status, 0);
  assert.ok(!existsSync(`${target}/caisson.log`), 'the log was opened through a link of another user');
});

/** Page tables take long to give back, and at a tenth of a core ten times as long. */
const MANY_MAPPINGS = `
import mmap, os, signal
fd = os.memfd_create('x'); os.ftruncate(fd, 50 << 20)
keep = [mmap.mmap(fd, 50 << 20, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)]
for _ in range(40):
  if os.fork() == 0:
    for _ in range(60): keep.append(mmap.mmap(fd, 50 << 20, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ))
    signal.pause()
signal.pause()
`;

test('a call is over within two seconds of its wall time, whatever the command has to give back', { skip }, async () => {
  await using caisson = await startCaisson();
  const tookMs = await leastOf(22_500, async () => {
    const start = performance.now();
    const { result } = await caisson.run({ argv: ['python3', '-c', MANY_MAPPINGS], limits: { wallMs: 20_000, cpuMillis: 100 } });
    assert.equal(result.exit, 124);
    return performance.now() - start;
  });
  assert.ok(tookMs < 22_500, `it took ${Math.round(tookMs)} ms`);
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { buildDir, compile, SANITIZERS } from './given.ts';

const run = promisify(execFile);
const ROUNDS = 2_000_000;
const FUZZ_SECONDS = 5;

suite('the parsers of pid 1', () => {
  const build = buildDir();
  after(() => build[Symbol.dispose]());

  test('hold their promises for two million inputs under the sanitizers', async () => {
    const fuzz = await compile(`${build.path}/fuzz`, ['fuzz/lane_fuzz.c', 'lane.c'], SANITIZERS);
    const { stdout } = await run(fuzz, [String(ROUNDS), '20261122'], { timeout: 60_000 });
    const [, rounds, valid] = /^(\d+) inputs, (\d+) of them valid\n$/.exec(stdout) ?? [];
    assert.equal(Number(rounds), ROUNDS);
    assert.ok(Number(valid) > ROUNDS / 10 && Number(valid) < (ROUNDS * 9) / 10, 'the inputs are neither all good nor all bad');
  });

  test('hold their promises for what libFuzzer finds', async (t) => {
    const flags = ['-g', '-O1', '-DLIBFUZZER', '-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all'];
    const fuzz = await compile(`${build.path}/libfuzzer`, ['fuzz/lane_fuzz.c', 'lane.c'], flags, 'clang').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'EACCES') return null;
      throw error;
    });
    if (fuzz === null) return t.skip('clang is not installed; the generator of the test above needs only gcc');
    await run(fuzz, [`-max_total_time=${FUZZ_SECONDS}`, '-max_len=4096', `-artifact_prefix=${build.path}/`], { timeout: 60_000 });
  });
});

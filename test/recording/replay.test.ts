import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, type Said } from '../cli/given.ts';

const LONG = 'i=0; while test $i -lt 60; do head -c 65536 /dev/zero | tr "\\0" "$((i % 10))"; i=$((i + 1)); done';

describe('recordings of execs, by the command line', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  let box = '';
  before(async () => {
    caisson = await startCaisson();
    box = (await ok('create')).trim();
  });
  after(() => caisson[Symbol.asyncDispose]());
  const run = (...args: readonly string[]): Promise<Said> => cli(caisson.env, args);
  const ok = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(...args);
    assert.equal(status, 0, stderr);
    return stdout.toString();
  };
  const ended = async (...command: readonly string[]): Promise<string> => {
    const exec = (await ok('exec', '-d', ...command)).trim();
    await ok('logs', '-f', box, exec);
    return exec;
  };
  const journalOf = (exec: string): string => `${caisson.paths.journals}/${readdirSync(caisson.paths.journals).find((each) => readdirSync(`${caisson.paths.journals}/${each}`).includes(exec)) ?? 'none'}/${exec}`;

  test('a terminal and a command without one are recorded, match the log, and replay as they were', async () => {
    for (const flags of [[], ['-t']]) {
      const exec = await ended(...flags, box, '--', 'sh', '-c', 'echo one; sleep 2; echo two');
      assert.match(await ok('logs', box, exec, '--verify'), /^good: 1 segments/);
      const start = performance.now();
      const shown = await ok('logs', box, exec, '--replay', '--speed', '2');
      assert.equal(shown, await ok('logs', box, exec));
      assert.ok(performance.now() - start >= 200);
      const [header, ...events] = (await ok('logs', box, exec, '--asciicast')).trim().split('\n').map((line) => JSON.parse(line) as unknown);
      assert.deepEqual(Object.keys(header as object), ['version', 'width', 'height', 'timestamp']);
      const [first, second] = (events as [number, string, string][]).filter(([, code]) => code === 'o');
      assert.match(first?.[2] ?? '', /^one/);
      assert.ok((second?.[0] ?? 0) - (first?.[0] ?? 0) > 0.3, JSON.stringify(events));
    }
  });

  test('bytes that are not UTF-8 survive, and stdout and stderr replay each to its own', async () => {
    const exec = await ended(box, '--', 'sh', '-c', 'printf "\\377\\376"; printf "\\200" >&2');
    const { stdout, stderr } = await run('logs', box, exec, '--replay', '--idle-limit', '0.1');
    assert.equal(stdout.toString('hex'), 'fffe');
    assert.equal(stderr.length, 1);
    const raw = await run('logs', box, exec, '--raw');
    assert.ok(raw.stdout.includes(Buffer.from('fffe', 'hex')) && raw.stdout.includes(Buffer.from('80', 'hex')));
  });

  test('a recording that was edited, or cut, does not match the log, and its first bad segment is named', async () => {
    const exec = await ended(box, '--', 'sh', '-c', LONG);
    const path = journalOf(exec);
    assert.match(await ok('logs', box, exec, '--verify'), /^good: [3-9] segments/);
    const bytes = readFileSync(path);
    const edited = Buffer.from(bytes);
    edited[Math.floor(1.5 * 1024 * 1024)] = 0x21;
    writeFileSync(path, edited);
    const bad = await run('logs', box, exec, '--verify', '--json');
    assert.equal(bad.status, 1);
    assert.deepEqual((JSON.parse(bad.stdout.toString()) as { bad: unknown }).bad, { segment: 1, reason: 'it is not what was written' });
    writeFileSync(path, bytes.subarray(0, Math.floor(2.5 * 1024 * 1024)));
    const short = await run('logs', box, exec, '--verify');
    assert.equal(short.status, 1);
    assert.match(short.stdout.toString(), /^BAD: segment 2 of/);
    writeFileSync(path, bytes);
    assert.match(await ok('logs', box, exec, '--verify'), /^good/);
  });

  test('what is typed at a terminal is not recorded, unless the terminal shows it', async () => {
    const { stdout } = await cli(caisson.env, ['exec', '-i', '-t', box, '--', 'sh', '-c', 'stty -echo; printf ready; read secret; printf done'], 'hunter2\n');
    assert.match(stdout.toString(), /done/);
    const exec = (JSON.parse(await ok('ps', box, '--json')) as { execs: { id: string; tty: boolean; state: string }[] }).execs.filter(({ tty }) => tty).at(-1)?.id ?? '';
    const raw = await run('logs', box, exec, '--raw');
    assert.match(raw.stdout.toString('latin1'), /done/);
    const typedAt = raw.stdout.indexOf('ready'); // what came before stty did may have been shown
    assert.ok(!raw.stdout.subarray(typedAt).includes('hunter2'));
  });

  test('recordings cannot be reached from the sandbox, and no other user of the host reads them', async () => {
    const exec = await ended(box, '--', 'sh', '-c', LONG);
    const journals = caisson.paths.journals;
    assert.equal((await run('exec', box, '--', 'ls', journals)).status, 2);
    assert.equal(statSync(journals).mode & 0o777, 0o700);
    assert.equal(statSync(journalOf(exec)).mode & 0o777, 0o600);
  });

  test('an exec that runs has a recording so far, and no digests yet; several execs must be named', async () => {
    const exec = (await ok('exec', '-d', box, '--', 'sh', '-c', 'echo so far; exec sleep 60')).trim();
    const soFar = async (): Promise<string> => (await run('logs', box, exec, '--raw')).stdout.toString('latin1');
    for (const untilMs = performance.now() + 20_000; !(await soFar()).includes('so far'); ) assert.ok(performance.now() < untilMs, 'its recording lacks what it has written');
    const early = await run('logs', box, exec, '--verify');
    assert.match(early.stderr, /has no digests of its recording/);
    assert.notEqual(early.status, 0);
    assert.match((await run('logs', box, '--replay')).stderr, /name one/);
    await ok('kill', '-s', 'KILL', box, exec);
    assert.notEqual((await run('logs', box, exec, '--replay', '--speed', '0')).status, 0);
  });
});

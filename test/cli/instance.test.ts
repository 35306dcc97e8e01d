import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { instanceId } from '@caisson/contract';
import { HOME, IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { cli, emptyPlace, endOf, startCli } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;

interface Status {
  readonly up: boolean;
  readonly supervisor: { readonly pid: number; readonly processes: readonly { readonly name: string; readonly pid: number; readonly uid: number }[] } | null;
}

async function statusOf(env: NodeJS.ProcessEnv): Promise<Status> {
  return JSON.parse((await cli(env, ['status', '--json'])).stdout.toString()) as Status;
}

test('up, status and down: exit 0, 3 when nothing is up, and nothing is left after down', { skip }, async () => {
  await using place = emptyPlace();
  const before = await cli(place.env, ['status']);
  assert.equal(before.status, 3);
  assert.match(before.stdout.toString(), /^nothing is up in .*; start it with \.\/caisson up$/m);

  const up = await cli(place.env, ['up', '--detach']);
  assert.deepEqual([up.status, up.stdout.length], [0, 0]);
  assert.match(up.stderr, /^caisson: up in .* \(pid \d+\)$/m);
  const during = await cli(place.env, ['status']);
  assert.equal(during.status, 0);
  assert.match(during.stdout.toString(), /^ {2}scribe +pid \d+ +uid \d+$[^]*^ {2}launcher [^]*^ {2}control [^]*^level container +crun|runc[^]*^network +by name/m);
  assert.equal(during.stderr, '');
  const { up: isUp, supervisor } = await statusOf(place.env);
  assert.equal(isUp, true);
  assert.deepEqual(supervisor?.processes.map(({ name }) => name).toSorted(), ['control', 'gate', 'launcher', 'scribe']);
  assert.equal(new Set(supervisor?.processes.map(({ uid }) => uid)).size, 4, 'each process has its own uid');
  assert.equal((await cli(place.env, ['run', '--', 'true'])).status, 0);

  const down = await cli(place.env, ['down']);
  assert.deepEqual([down.status, down.stdout.length], [0, 0]);
  assert.equal((await cli(place.env, ['status'])).status, 3);
  assert.equal((await cli(place.env, ['down'])).status, 0, 'nothing to stop is no error');
  for (const { pid } of supervisor?.processes ?? []) assert.equal(existsSync(`/proc/${pid}`), false);
  assert.equal(existsSync(place.paths.run), false);
  assert.deepEqual(globSync([`/sys/fs/cgroup/*/caisson/${instanceId(place.dir)}`, `/sys/fs/cgroup/caisson/${instanceId(place.dir)}`]), []);
});

test('up in the foreground says when it is ready, and Ctrl-C stops it', { skip }, async () => {
  await using place = emptyPlace();
  const child = startCli(place.env, ['up']);
  const ended = endOf(child);
  while ((await cli(place.env, ['status'])).status !== 0) await delay(50);
  // A terminal sends Ctrl-C to the whole group; here the supervisor gets it by name.
  process.kill((await statusOf(place.env)).supervisor?.pid ?? Number.NaN, 'SIGINT');
  const { status, stderr } = await ended;
  assert.equal(status, 0);
  assert.match(stderr, /^caisson: up in .*; Ctrl-C stops it$/m);
  assert.equal((await cli(place.env, ['status'])).status, 3);
});

test('down ends calls under way, and they are told', { skip }, async () => {
  await using place = emptyPlace();
  await cli(place.env, ['up', '--detach']);
  const child = startCli(place.env, ['run', '--', 'sh', '-c', 'echo up; sleep 60']);
  const ended = endOf(child);
  await once(child.stdout ?? child, 'data');
  assert.equal((await cli(place.env, ['down'])).status, 0);
  const { status, stderr } = await ended;
  assert.ok(status === 125 || status === 123, `${status}: cancelled, or unknown when the daemon was gone first`);
  assert.match(stderr, /^caisson: /m);
  assert.equal((await cli(place.env, ['audit', 'verify'])).status, 0);
});

test('two first runs at once both work, and start one daemon', { skip }, async () => {
  await using place = emptyPlace();
  const both = await Promise.all(['one', 'two'].map((word) => cli(place.env, ['run', '--', 'echo', word])));
  assert.deepEqual(both.map(({ status, stdout }) => [status, stdout.toString()]), [[0, 'one\n'], [0, 'two\n']]);
  assert.equal(both.filter(({ stderr }) => /^caisson: started in /m.test(stderr)).length, 1);
});

test('two instances live side by side, and neither sees the other', { skip }, async () => {
  await using first = emptyPlace();
  await using second = emptyPlace();
  const ran = await Promise.all([first, second].map(({ env, dir }) => cli(env, ['run', '--', 'echo', dir])));
  assert.deepEqual(ran.map(({ stdout }) => stdout.toString().trim()), [first.dir, second.dir]);
  const [one, two] = [await statusOf(first.env), await statusOf(second.env)];
  const uids = [one, two].flatMap(({ supervisor }) => supervisor?.processes.filter(({ uid }) => uid !== 0).map(({ uid }) => uid) ?? []);
  assert.equal(new Set(uids).size, 6, 'no process of one shares a uid with the other');
  await cli(first.env, ['down']);
  assert.equal((await cli(second.env, ['run', '--', 'true'])).status, 0, 'the end of one is not the end of the other');
  assert.match((await cli(second.env, ['audit', 'tail', '-n', '100'])).stdout.toString(), /^(.*#[0-3] .*\n){4}$/, 'two calls, four entries');
});

test('audit tail shows the last entries, and audit verify checks them without the daemon', { skip }, async () => {
  await using place = emptyPlace();
  await cli(place.env, ['run', '--', 'sh', '-c', 'exit 9']);
  const { id, evidence } = JSON.parse((await cli(place.env, ['run', '--json', '--', 'true'])).stdout.toString()) as { id: string; evidence: { outcome: { index: number; hash: string } } };
  await cli(place.env, ['down']);
  const tail = await cli(place.env, ['audit', 'tail', '-n', '2']);
  assert.equal(tail.status, 0);
  assert.match(tail.stdout.toString(), new RegExp(`^\\S+ {2}#2 {2}intent {2}control {2}${id} [^\\n]*\\n\\S+ {2}#3 {2}outcome {2}control {2}${id} [^\\n]*\\n$`));
  const lines = (await cli(place.env, ['audit', 'tail', '--json'])).stdout.toString().trim().split('\n').map((line) => JSON.parse(line) as { entry: { index: number } });
  assert.deepEqual(lines.map(({ entry }) => entry.index), [0, 1, 2, 3]);

  const verify = await cli(place.env, ['audit', 'verify']);
  assert.deepEqual([verify.status, verify.stderr], [0, '']);
  assert.match(verify.stdout.toString(), /^entries +4 good/m);
  const { index, hash } = evidence.outcome;
  assert.equal((await cli(place.env, ['audit', 'verify', '--head', `${index}:${hash}`])).status, 0);
  assert.equal((await cli(place.env, ['audit', 'verify', '--head', `${index}:${'0'.repeat(64)}`])).status, 1);
  assert.equal((await cli(place.env, ['audit', 'verify', '--head', 'nonsense'])).status, 2);
});

test('audit without a log, or of an unknown kind, says so with 2', async () => {
  await using place = emptyPlace();
  for (const args of [['audit', 'tail'], ['audit', 'verify'], ['audit', 'burn'], ['audit', 'tail', '-n', 'many']]) {
    const { status, stdout, stderr } = await cli(place.env, args);
    assert.deepEqual([status, stdout.length], [2, 0], args.join(' '));
    assert.match(stderr, /^caisson: (STATE_DIR_INVALID|USAGE): .*\nhint: /);
  }
});

const bash = promisify(execFile);

for (const [line, expected] of [
  [['caisson', 'ru'], ['run']],
  [['caisson', 'run', '--mem'], ['--memory']],
  [['caisson', 'run', '--memory', '1Gi', '--js'], ['--json']],
  [['caisson', 'audit', ''], ['tail', 'verify', 'unseal', 'erase', 'rotate-key', 'prove', 'check-proof', 'report', 'export', '--help']],
  [['caisson', 'audit', 'tail', '--fo'], ['--follow']],
  [['caisson', 'run', '--', '--mem'], []],
  [['./caisson', 'status', '--j'], ['--json']],
] as const) {
  test(`bash completes "${line.join(' ')}" to ${expected.join(' ') || 'files'}`, async () => {
    const script = 'source <("$1" "$2" completion bash) || exit 9; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _caisson; printf "%s\\n" "${COMPREPLY[@]}"; complete -p caisson';
    const { stdout } = await bash('bash', ['--norc', '-c', script, 'bash', process.execPath, `${HOME}/apps/cli/src/main.ts`, ...line], { env: { ...process.env, CAISSON_HOME: HOME } });
    const lines = stdout.trimEnd().split('\n');
    assert.match(lines.pop() ?? '', /^complete -o default -F _caisson caisson$/);
    assert.deepEqual(lines.filter((each) => each !== ''), expected);
  });
}

test('--help goes to stdout and names every exit status and an example', async () => {
  await using place = emptyPlace();
  const { status, stdout, stderr } = await cli(place.env, ['run', '--help']);
  assert.deepEqual([status, stderr], [0, '']);
  for (const said of [/124 time is up/, /137 out of memory/, /127 no such program/, /126 not executable/, /125 refused/, /123 unknown/, /caisson run --timeout 5s/, /--memory/]) {
    assert.match(stdout.toString(), said);
  }
  const overview = (await cli(place.env, ['--help'])).stdout.toString();
  for (const command of ['run', 'up', 'down', 'status', 'doctor', 'audit', 'demo', 'completion']) assert.match(overview, new RegExp(`^ {2}${command}\\b`, 'm'));
});

test('--version prints the version and nothing else', async () => {
  await using place = emptyPlace();
  const { status, stdout, stderr } = await cli(place.env, ['--version']);
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout.toString(), /^\d+\.\d+\.\d+\n$/);
});

test('caisson without a command shows the help on stderr and exits 2', async () => {
  await using place = emptyPlace();
  const { status, stdout, stderr } = await cli(place.env, []);
  assert.deepEqual([status, stdout.length], [2, 0]);
  assert.match(stderr, /^Usage: caisson/m);
});

test('no command that asks starts a daemon', async () => {
  await using place = emptyPlace();
  for (const args of [['status'], ['audit', 'tail'], ['--help'], ['completion', 'bash'], ['down']]) await cli(place.env, args);
  assert.equal(existsSync(place.paths.run), false);
});

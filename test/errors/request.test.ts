import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { cli, emptyPlace, type Said } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';
import { sharedInstance } from '../limits/given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const instance = sharedInstance();

/** What a person reads: the code, what is wrong and what to do about it; nothing on stdout. */
function says(said: Said, status: number, code: string, what: RegExp, hint: RegExp | null): void {
  assert.equal(said.status, status);
  assert.equal(said.stdout.toString(), '');
  const [first = '', second = ''] = said.stderr.split('\n');
  assert.ok(first.startsWith(`caisson: ${code}: `), first);
  assert.match(first, what);
  if (hint === null) assert.equal(second, '');
  else assert.match(second, hint);
}

test('USAGE: a misspelt option suggests the right one', { skip }, async () => {
  const caisson = await instance();
  says(await cli(caisson.env, ['run', '--memroy', '1', '--', 'true']), 125, 'USAGE', /'--memroy'.*--memory/, /^hint: see .*--help/);
});

for (const [what, args, status, named] of [
  ['a misspelt command suggests the right one', ['rnu'], 2, /'rnu'.*run/],
  ['run without a command', ['run'], 125, /command/],
  ['a size that is none', ['run', '--memory', 'lots', '--', 'true'], 125, /--memory: lots is not a quantity such as 512Mi/],
  ['a duration that is none', ['run', '--timeout', '5 apples', '--', 'true'], 125, /--timeout: 5 apples/],
  ['a negative count', ['run', '--pids', '-5', '--', 'true'], 125, /--pids/],
  ['a variable without a value', ['run', '--env', 'A', '--', 'true'], 125, /--env: A is not NAME=VALUE/],
  ['an unknown level names the known ones', ['run', '--level', 'vm', '--', 'true'], 125, /container, gvisor, microvm/],
  ['an unknown shell', ['completion', 'fish'], 2, /bash and zsh/],
] as const) {
  test(`USAGE: ${what}`, { skip }, async () => says(await cli((await instance()).env, args), status, 'USAGE', named, /^hint: /));
}

for (const [what, args, named] of [
  ['a variable whose name is none', ['--env', '1X=2'], /env\.1X: must be a name such as API_URL/],
  ['less memory than any sandbox needs', ['--memory', '1Mi'], /limits\.memoryBytes/],
  ['a working directory that is not absolute', ['--cwd', 'here'], /cwd: must be an absolute path/],
  ['a wall time of nothing', ['--timeout', '0'], /limits\.wallMs/],
] as const) {
  test(`REQUEST_INVALID: ${what}`, { skip }, async () => {
    const caisson = await instance();
    says(await cli(caisson.env, ['run', ...args, '--', 'true']), 125, 'REQUEST_INVALID', named, /^hint: correct the named field/);
  });
}

test('REQUEST_INVALID: a field that is not known is an error, never ignored', { skip }, async () => {
  const caisson = await instance();
  await assert.rejects(caisson.run({ argv: ['true'], network: true } as never), { code: 'REQUEST_INVALID', message: /network/ });
});

test('REQUEST_INVALID: text that is not Unicode', { skip }, async () => {
  const caisson = await instance();
  await assert.rejects(caisson.run({ argv: ['echo', '\ud800'] }), { code: 'REQUEST_INVALID' });
});

test('LIMIT_EXCEEDS_POLICY: more memory than the policy allows is refused with what it allows', { skip }, async () => {
  const caisson = await instance();
  says(await cli(caisson.env, ['run', '--memory', '100Gi', '--', 'true']), 125, 'LIMIT_EXCEEDS_POLICY', /107374182400 is more than the 68719476736/, /^hint: .*at most 68719476736/);
});

test('LIMIT_BELOW_LEVEL: less memory than the kernel of the level takes for itself is refused with what it needs', { skip }, async () => {
  const caisson = await instance();
  says(await cli(caisson.env, ['run', '--level', 'gvisor', '--memory', '16Mi', '--', 'true']), 125, 'LIMIT_BELOW_LEVEL', /memoryBytes of 16777216 is less than the 33554432/, /^hint: .*at least 33554432/);
});

test('LIMIT_NOT_ENFORCEABLE: a limit that the level cannot hold is refused, not ignored', { skip }, async () => {
  const caisson = await instance();
  const { result } = await caisson.run({ argv: ['true'], level: 'gvisor', limits: { inodes: 100 } });
  assert.equal(result.exit, 125);
  assert.equal(result.ending.kind === 'refused' && result.ending.code, 'LIMIT_NOT_ENFORCEABLE');
  assert.match(result.reason, /^inodes cannot be limited at level gvisor: /);
  assert.deepEqual((await caisson.run({ argv: ['true'], level: 'container', limits: { inodes: 100 } })).result.exit, 0);
});

test('LEVEL_UNAVAILABLE: a level that this host lacks is refused with what is missing and how to get it', { skip }, async () => {
  const caisson = await instance();
  says(await cli(caisson.env, ['run', '--level', 'microvm', '--', 'true']), 125, 'LEVEL_UNAVAILABLE', /no microVM driver.*\(use --level gvisor/, null);
});

test('LEVEL_BELOW_POLICY: a level below the minimum of the policy is refused', { skip }, async () => {
  await using place = emptyPlace();
  writeFileSync(`${place.dir}/policy.json`, JSON.stringify({ ...shippedPolicy, levels: { default: 'gvisor', minimum: 'gvisor' } }));
  says(await cli(place.env, ['up', '--detach']).then(() => cli(place.env, ['run', '--level', 'container', '--', 'true'])),
    125, 'LEVEL_BELOW_POLICY', /level container is below gvisor/, /^hint: level gvisor/);
});

test('COMMAND_NOT_EXECUTABLE: more arguments than a sandbox can be handed are E2BIG, counted in bytes', { skip }, async () => {
  const long = '€'.repeat(40_000);
  const { result } = await (await instance()).run({ argv: ['echo', long, long, long] }, undefined, AbortSignal.timeout(30_000));
  assert.deepEqual([result.exit, result.reason], [126, 'echo: cannot be run (E2BIG)']);
});

for (const [code, args, status, what] of [
  ['COMMAND_NOT_FOUND', ['--', 'nosuchprogram'], 127, /nosuchprogram: no such program/],
  ['COMMAND_NOT_EXECUTABLE', ['--', '/etc/passwd'], 126, /\/etc\/passwd: cannot be run \(EACCES\)/],
  ['CWD_INVALID', ['--cwd', '/nowhere', '--', 'true'], 126, /\/nowhere cannot be entered \(ENOENT\)/],
] as const) {
  test(`${code}: exit ${status} and a sentence`, { skip }, async () => says(await cli((await instance()).env, ['run', ...args]), status, code, what, /^hint: /));
}

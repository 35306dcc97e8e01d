import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { RunRequest } from '@caisson/contract';
import { Channel, checkOwnFolders, listenUnix } from '@caisson/wire';
import { apiInMemory, type Double } from '../api/given.ts';
import { HOME } from '../harness.ts';
import { cli, emptyPlace, endOf, type Place, type Said } from './given.ts';

interface Scene extends AsyncDisposable {
  readonly place: Place;
  readonly double: Double;
  run(...args: readonly string[]): Promise<Said>;
  ok(...args: readonly string[]): Promise<string>;
}

const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;

/** The command line on the API over sandboxes in memory: nothing here needs what is inside a sandbox. */
async function scene(): Promise<Scene> {
  const held = new AsyncDisposableStack();
  const place = held.use(emptyPlace());
  checkOwnFolders(place.paths.ownFolders, { make: true });
  held.defer(() => rmSync(place.paths.run, { recursive: true, force: true }));
  mkdirSync(dirname(place.paths.apiSocket));
  const { double } = held.use(await apiInMemory({ socketPath: place.paths.apiSocket }));
  const run = (...args: readonly string[]): Promise<Said> => cli(place.env, args);
  return {
    place, double, run,
    async ok(...args) {
      const end = await run(...args);
      assert.equal(end.status, 0, said(end));
      return end.stdout.toString();
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

test('--secret is asked for by its name, once for each, wherever a sandbox is made', async () => {
  await using at = await scene();
  const names = (): unknown => (at.double.asked.at(-1)?.detail as { secrets?: unknown } | undefined)?.secrets;
  await at.ok('create', '--name', 'a', '--secret', 'openai', '--secret', 'github');
  assert.deepEqual(names(), ['openai', 'github']);
  await at.ok('fork', 'a', '--secret', 'github');
  assert.deepEqual(names(), ['github']);
  await at.ok('create');
  assert.equal(names(), undefined);
  at.double.exec = () => Promise.reject(new Error('the double runs nothing'));
  const before = at.double.asked.length;
  await at.run('run', '--image', 'one', '--secret', 'openai', '--', 'true');
  assert.deepEqual([at.double.asked.length, names()], [before + 1, ['openai']]);
  const folder = mkdtempSync(`${tmpdir()}/caisson-secrets-`);
  try {
    await at.run('run', '--in', folder, '--secret', 'github', '--', 'true');
    assert.deepEqual([at.double.asked.length, names()], [before + 2, ['github']]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('run asks control for secrets by their names', async () => {
  await using at = await scene();
  const heard: unknown[] = [];
  await using held = new AsyncDisposableStack();
  held.use(await listenUnix(at.place.paths.controlSocket, {}, (socket) => {
    const channel = new Channel(socket, {
      onMessage(message) {
        heard.push((message as { request?: unknown }).request);
        channel.send({ type: 'problem', problem: { code: 'SECRET_UNKNOWN', message: 'no secret github may be asked for', hint: 'name one' } });
      },
    });
  }));
  const { status, stderr } = await at.run('run', '--secret', 'openai', '--secret', 'github', '--', 'true');
  assert.deepEqual([status, stderr], [125, 'caisson: SECRET_UNKNOWN: no secret github may be asked for\nhint: name one\n']);
  assert.deepEqual(heard.map((request) => RunRequest.parse(request).secrets), [['openai', 'github']]);
});

test('a secret that is asked for twice, or by what is no name, makes no sandbox', async () => {
  await using at = await scene();
  for (const [args, why] of [[['--secret', 'openai', '--secret', 'openai'], /secrets: names one twice/], [['--secret', 'sk-A1'], /secrets\.0: must be 1 to 63/]] as const) {
    const { status, stderr } = await at.run('create', ...args);
    assert.equal(status, 1);
    assert.match(stderr, why);
  }
  assert.deepEqual(at.double.asked, []);
});

test('secrets ls tells what a sandbox may use and how often it did, revoke takes one, and rotate names who has it', async () => {
  await using at = await scene();
  const id = (await at.ok('create', '--name', 'a', '--secret', 'openai', '--secret', 'github')).trim();
  const other = (await at.ok('create', '--secret', 'github')).trim();
  const listed = await at.ok('secrets', 'ls', 'a');
  assert.match(listed, /^NAME {4}FILE {2}USES {2}LAST {7,}ENDS\nopenai {2}- {5}3 {5}\d+d ago {2,}-\ngithub {2}- {5}0 {5}- +-\n$/);
  assert.deepEqual(JSON.parse(await at.ok('secrets', 'ls', id, '--json')), { secrets: [{ expiresMs: null, file: null, lastMs: 1, secret: 'openai', uses: 3 }, { expiresMs: null, file: null, lastMs: null, secret: 'github', uses: 0 }] });
  assert.equal(await at.ok('secrets', 'rotate', 'github'), `${id}\n${other}\n`);
  assert.equal(await at.ok('secrets', 'revoke', 'a', 'github'), `${id}\n`);
  assert.doesNotMatch(await at.ok('secrets', 'ls', 'a'), /github/);
  assert.deepEqual(JSON.parse(await at.ok('secrets', 'rotate', 'github', '--json')), { sandboxes: [other] });
  const again = await at.run('secrets', 'revoke', 'a', 'github');
  assert.equal(again.status, 1);
  assert.match(again.stderr, /LEASE_NOT_FOUND: sandbox sbx-\w+ has no lease of secret github\nhint: list the secrets/);
  assert.match((await at.run('secrets', 'rotate', '../tokens')).stderr, /REQUEST_INVALID.*secret: must be 1 to 63/);
});

test('a sandbox without secrets, and without a network, has none to list', async () => {
  await using at = await scene();
  const id = (await at.ok('create')).trim();
  assert.equal(await at.ok('secrets', 'ls', id), 'NAME  FILE  USES  LAST  ENDS\n');
  assert.equal(await at.ok('secrets', 'ls', id, '--json'), '{"secrets":[]}\n');
});

test('network tells which rules have requests read, and which secrets were used', async () => {
  await using at = await scene();
  await at.ok('create', '--name', 'a', '--secret', 'openai', '--secret', 'github', '--allow', 'api.test/https', '--allow', 'b.test');
  const shown = await at.ok('network', 'a');
  assert.match(shown, /^allow +api\.test +443 +https +-$/m);
  assert.match(shown, /^allow +b\.test +443 +- +-$/m);
  assert.match(shown, /^SECRET {2}USES {2}LAST\nopenai {2}3 {5}\d+d ago\n\n/m);
  assert.doesNotMatch(shown, /^github/m);
  await at.ok('create', '--name', 'without', '--allow', 'b.test');
  assert.doesNotMatch(await at.ok('network', 'without'), /SECRET/);
});

test('help says what https and a secret are, and completion knows the names that a sandbox has', async () => {
  await using at = await scene();
  for (const verb of ['run', 'create', 'fork']) {
    const help = (await at.ok(verb, '--help')).replace(/\s+/g, ' ');
    assert.match(help, /--secret <NAME> let it use a secret of the policy, at its hosts or as a file; may be repeated/);
    assert.match(help, /\/https: requests are read/);
  }
  assert.match((await at.ok('secrets', '--help')).replace(/\s+/g, ' '), /ls .*<id> list the secrets.* revoke .*<id> <secret> take a secret.* rotate .*<secret> take the value/);
  await at.ok('create', '--name', 'a', '--secret', 'openai');
  await at.ok('create', '--name', 'b', '--secret', 'github');
  for (const [line, expected] of [['secrets re', 'revoke'], ['secrets revoke a ', 'openai'], ['secrets rotate git', 'github'], ['create --sec', '--secret']] as const) {
    const words = ['./caisson', ...line.split(' ')].map((word) => `'${word}'`);
    const script = `source <(./caisson completion bash); COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _caisson ./caisson ${words.at(-1)} ${words.at(-2)}; echo "\${COMPREPLY[@]}"`;
    const end = await endOf(spawn('bash', ['-c', script], { cwd: HOME, env: at.place.env, stdio: ['ignore', 'pipe', 'pipe'] }));
    assert.ok(end.stdout.toString().trim().split(' ').includes(expected), `${line}: ${said(end)}`);
    assert.equal(end.stdout.toString().includes(expected === 'openai' ? 'github' : 'openai'), false, line);
  }
});

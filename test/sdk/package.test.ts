import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packSdk } from '../../tools/pack.ts';
import { HOME } from '../harness.ts';
import { REAL, realCaisson } from './given.ts';

const real = realCaisson();
const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-package-`);
const installed = join(dir, 'node_modules/@caisson/sdk');

/** An empty folder with the package in it: nothing of the checkout is within reach. */
before(() => {
  mkdirSync(installed, { recursive: true });
  run('tar', ['-xzf', packSdk(HOME), '--strip-components=1', '-C', installed]);
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
});
after(() => rmSync(dir, { recursive: true, force: true }));

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): SpawnSyncReturns<string> {
  const ran = spawnSync(program, args, { cwd: dir, env: { PATH: process.env['PATH'], ...env }, encoding: 'utf8', timeout: 60_000 });
  assert.equal(ran.status, 0, `${program}: ${ran.stdout}${ran.stderr}`);
  return ran;
}

function example(name: string): string {
  copyFileSync(join(HOME, 'examples/typescript', name), join(dir, name));
  const socket = real().caisson.paths.apiSocket;
  return run(process.execPath, ['--disable-warning=ExperimentalWarning', join(dir, name)], { CAISSON_API_SOCKET: socket }).stdout;
}

test('ten lines create, run, write, read, snapshot, fork and close, from the packed package', REAL, () => {
  assert.ok(readFileSync(join(HOME, 'examples/typescript/ten-lines.ts'), 'utf8').trimEnd().split('\n').length <= 10);
  assert.match(example('ten-lines.ts'), /^\[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37\]\n lay-[0-9a-z]{16} sbx-[0-9a-z]{16}\n$/);
});

test('a Python session and a followed command run from the packed package, and their programs end by themselves', REAL, () => {
  assert.equal(example('python-session.ts'), '3.5\n');
  assert.equal(example('follow-output.ts'), 'step one\nstep two\nstep three\nthe command exited with 0\n');
});

test('the package has no dependency and no install script, and holds only what was built', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Readonly<Record<string, unknown>>;
  assert.deepEqual([manifest['dependencies'], manifest['scripts'], manifest['name']], [undefined, undefined, '@caisson/sdk']);
  const names = run('tar', ['-tzf', packSdk(HOME)]).stdout.trim().split('\n');
  assert.deepEqual(names.filter((name) => !/^package\/(dist\/[a-z-]+\.(js|d\.ts|js\.map)|package\.json|README\.md|LICENSE)$/.test(name)), []);
});

test('the same source makes the same package, byte for byte', () => {
  const first = readFileSync(packSdk(HOME));
  assert.ok(readFileSync(packSdk(HOME)).equals(first));
});

test('its types tell a program that uses it wrongly from one that does not', () => {
  const check = (text: string): SpawnSyncReturns<string> => {
    writeFileSync(join(dir, 'use.ts'), text);
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', '--skipLibCheck', 'false', '--types', 'node', '--typeRoots', join(HOME, 'node_modules/@types')];
    return spawnSync(join(HOME, 'node_modules/.bin/tsc'), [...flags, 'use.ts'], { cwd: dir, encoding: 'utf8' });
  };
  const head = "import { Sandbox, type ErrorCode } from '@caisson/sdk';\nawait using box = await Sandbox.create({ ttlMs: 1000 });\n";
  const right = check(`${head}const exit: number | 'unknown' = (await box.exec(['true'])).exit;\nexport const code: ErrorCode = 'FILE_OUTSIDE';\nexport default exit;\n`);
  assert.equal(right.stdout, '');
  const wrong = check(`${head}const exit: number = (await box.exec(['true'])).exit;\nexport default exit;\n`);
  assert.match(wrong.stdout, /not assignable to type 'number'/);
});

import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { ignoreRules, leadsInside, makeStaging, makeSteps, planAccept, stageFile, type Plan, type Step } from '@caisson/cli';
import type { Change } from '@caisson/sdk';
import { leastMs } from '../least.ts';

const seen = (type: 'file' | 'directory' | 'symlink') => ({ type, mode: 0o755, sizeBytes: 1, mtimeNs: '1', ino: type });

/** A folder, and what turns it into another: a folder goes with what is in it, a link becomes a folder, a file changes. */
const CHANGES: readonly Change[] = [
  { path: 'gone', kind: 'removed', type: 'directory', sizeBytes: 0, mode: 0o755 },
  { path: 'gone/deep', kind: 'removed', type: 'directory', sizeBytes: 0, mode: 0o755 },
  { path: 'gone/deep/file', kind: 'removed', type: 'file', sizeBytes: 1, mode: 0o755 },
  { path: 'link', kind: 'changed', type: 'directory', sizeBytes: 0, mode: 0o755 },
  { path: 'link/inner', kind: 'added', type: 'file', sizeBytes: 1, mode: 0o755 },
  { path: 'text', kind: 'changed', type: 'file', sizeBytes: 1, mode: 0o755 },
  { path: 'was', kind: 'changed', type: 'file', sizeBytes: 1, mode: 0o755 },
];
const MANIFEST = { gone: seen('directory'), 'gone/deep': seen('directory'), 'gone/deep/file': seen('file'), link: seen('symlink'), text: seen('file'), was: seen('directory') };

function plan(): Plan {
  return planAccept({ changes: CHANGES, manifest: MANIFEST, now: new Map(CHANGES.map(({ path }) => [path, path in MANIFEST ? MANIFEST[path as keyof typeof MANIFEST] : null])) });
}

async function ground(): Promise<{ readonly above: string; readonly folder: string; readonly staging: string }> {
  const above = mkdtempSync(`${tmpdir()}/caisson-accept-`);
  const [folder, staging] = [join(above, 'folder'), join(above, '.staging')];
  mkdirSync(join(folder, 'gone/deep'), { recursive: true });
  writeFileSync(join(folder, 'gone/deep/file'), 'x');
  symlinkSync('text', join(folder, 'link'));
  writeFileSync(join(folder, 'text'), 'old');
  mkdirSync(join(folder, 'was'));
  await makeStaging(folder, staging);
  for (const { path, number } of plan().wanted) await stageFile(join(staging, 'new', String(number)), chunks(`new ${path}`), 0o6755);
  return { above, folder, staging };
}

async function* chunks(text: string): AsyncGenerator<Uint8Array, void> {
  yield Buffer.from(text);
}

test('steps that were cut off anywhere, and cut off again, lead to the same folder', async () => {
  const { steps, conflicts } = plan();
  assert.deepEqual(conflicts, []);
  for (let first = 0; first <= steps.length; first++) {
    for (const second of [0, first, steps.length]) {
      const { above, folder, staging } = await ground();
      await makeSteps(folder, staging, steps.slice(0, first));
      await makeSteps(folder, staging, steps.slice(0, second));
      assert.deepEqual(await makeSteps(folder, staging, steps), []);
      assert.deepEqual(readdirSync(folder, { recursive: true }).map(String).toSorted((a, b) => (a < b ? -1 : 1)), ['link', 'link/inner', 'text', 'was']);
      for (const path of ['link/inner', 'text', 'was']) {
        assert.equal(readFileSync(join(folder, path), 'latin1'), `new ${path}`);
        assert.equal(lstatSync(join(folder, path)).mode & 0o7777, 0o755, 'no bits that lend rights');
      }
      rmSync(above, { recursive: true });
    }
  }
});

test('no step is made through a link or outside the folder, whatever the journal says', async () => {
  const { above, folder, staging } = await ground();
  const outside = join(above, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'file'), 'mine');
  symlinkSync(outside, join(folder, 'out'));
  const hostile: readonly Step[] = ['out/file', '../outside/file', '/etc/x', 'gone/../../outside/file', './out/file', 'out//file', ''].flatMap((path): Step[] => [
    { do: 'take', path, number: 90 }, { do: 'put', path, number: plan().wanted[0]?.number ?? 0 }, { do: 'make-folder', path: `${path}/new`, mode: 0o777 }, { do: 'remove-folder', path },
  ]);
  for (const step of hostile) await assert.rejects(makeSteps(folder, staging, [step]), { code: 'FILE_DENIED' }, JSON.stringify(step));
  for (const number of ['../../outside/taken', '/tmp/taken', Number.NaN] as unknown as number[]) {
    await assert.rejects(makeSteps(folder, staging, [{ do: 'take', path: 'text', number }]), { code: 'FILE_DENIED' });
    await assert.rejects(makeSteps(folder, staging, [{ do: 'put', path: 'text', number }]), { code: 'FILE_DENIED' });
  }
  assert.deepEqual([readdirSync(outside), readFileSync(join(outside, 'file'), 'latin1')], [['file'], 'mine']);
  await assert.rejects(makeSteps(folder, staging, [{ do: 'make-folder', path: 'out', mode: 0o700 }]), 'a link in the place of a folder');
  assert.equal(existsSync(join(outside, 'new')), false);
  rmSync(above, { recursive: true });
});

test('what git would run, and names that are no text, are left out and said; all else of a repository is taken', () => {
  const of = (path: string, type: Change['type'] = 'file', rest: object = {}): Change => ({ path, kind: 'added', type, sizeBytes: 1, mode: 0o644, ...rest });
  const hostile = [
    of('.git/hooks', 'directory'), of('.git/hooks/post-checkout'), of('.git/config'), of('.git/config.worktree'), of('.git/commondir'), of('.git/hooks', 'symlink'), of('.git/index', 'symlink'),
    of('sub/.git'), of('sub/.git', 'symlink'), of('sub/.GIT/config'), of('.git/modules/a/b/config'), of('.git/modules/a/hooks/x'), of('.git/worktrees/w/config.worktree'),
    of('bad\uFFFDname', 'file', { pathBase64: 'YmFk/25hbWU=' }),
  ];
  const ordinary = [of('.git', 'directory'), of('.git/index'), of('.git/objects/ab/cd'), of('.git/refs/heads/main'), of('.github/config'), of('hooks/x'), of('config')];
  const { steps, leftOut } = planAccept({ changes: [...hostile, ...ordinary], manifest: {}, now: new Map() });
  assert.deepEqual(steps.map(({ path }) => path).toSorted(), ordinary.map(({ path }) => path).toSorted());
  assert.equal(leftOut.length, hostile.length);
});

test('a link leads inside only when no step of it can leave the folder', () => {
  for (const [path, target] of [['a', 'b'], ['d/a', '../b'], ['d/e/a', '../../b/c'], ['a', '.']] as const) assert.equal(leadsInside(path, target), true, `${path} -> ${target}`);
  for (const [path, target] of [['a', '../b'], ['a', '/b'], ['d/a', '../../b'], ['a', 'b/../..'], ['a', ''], ['a', '..']] as const) assert.equal(leadsInside(path, target), false, `${path} -> ${target}`);
});

test('.caissonignore: the last rule that fits counts', () => {
  const ignore = ignoreRules('# comment\n\nnode_modules/\n*.log\n!keep.log\n/build\ndocs/**/*.tmp\na?c\n');
  const cases: readonly (readonly [string, boolean, boolean])[] = [
    ['node_modules', true, true], ['x/node_modules', true, true], ['node_modules', false, false], ['a.log', false, true], ['x/a.log', false, true], ['x/keep.log', false, false],
    ['build', true, true], ['x/build', true, false], ['docs/a.tmp', false, true], ['docs/x/y/a.tmp', false, true], ['a.tmp', false, false], ['abc', false, true], ['ac', false, false],
  ];
  for (const [path, isFolder, ignored] of cases) assert.equal(ignore(path, isFolder), ignored, path);
});

test('a glob that a hostile folder brings along takes no time', () => {
  const ignore = ignoreRules(`${'*a'.repeat(200)}b\n${'**/a/'.repeat(60)}b`);
  const tookMs = leastMs(1_000, () => assert.equal(ignore(`${'a/'.repeat(60)}${'a'.repeat(250)}`, false), false));
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
});

test('a glob without signs fits its own name, and stars fit everything', () => {
  const name = fc.stringMatching(/^[a-z.]{1,12}$/);
  fc.assert(fc.property(name, name, (one, other) => {
    assert.equal(ignoreRules(one)(other, false), one === other);
    assert.equal(ignoreRules('*')(other, false), true);
    assert.equal(ignoreRules(`/${one}/**`)(`${one}/${other}`, false), true);
    assert.equal(ignoreRules(`${one.slice(0, 1)}*`)(one, false), true);
  }));
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { contentOf, skip, startPlace, type Place } from './given.ts';

async function write(place: Place, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await place.files.write(name, Buffer.from(text), { createParents: true });
}

const numbered = (count: number): string => Array.from({ length: count }, (_, index) => `line ${index + 1}\n`).join('');

suite('patches', { skip }, () => {
  test('a diff of git changes, makes and removes files', async () => {
    await using place = await startPlace();
    await write(place, { 'src/a.txt': 'one\ntwo\nthree\n', 'src/old.txt': 'bye\n', 'src/run': '#!/bin/sh\n' });
    await place.files.chmod('src/run', 0o755);
    const { files } = await place.files.patch('src', [
      'diff --git a/a.txt b/a.txt', 'index 1..2 100644', '--- a/a.txt', '+++ b/a.txt', '@@ -1,3 +1,3 @@', ' one', '-two', '+2', ' three',
      'diff --git a/new/b.txt b/new/b.txt', 'new file mode 100644', '--- /dev/null', '+++ b/new/b.txt', '@@ -0,0 +1 @@', '+hello', '\\ No newline at end of file',
      '--- a/old.txt', '+++ /dev/null', '@@ -1 +0,0 @@', '-bye',
      '--- a/run', '+++ b/run', '@@ -1 +1,2 @@', ' #!/bin/sh', '+exit 0', '',
    ].join('\n'));
    assert.deepEqual(files, [
      { path: '/workspace/src/a.txt', change: 'changed' }, { path: '/workspace/src/new/b.txt', change: 'created' },
      { path: '/workspace/src/old.txt', change: 'removed' }, { path: '/workspace/src/run', change: 'changed' },
    ]);
    assert.equal((await contentOf(place.files, 'src/a.txt')).toString(), 'one\n2\nthree\n');
    assert.equal((await contentOf(place.files, 'src/new/b.txt')).toString(), 'hello');
    assert.equal((await place.files.stat('src/run')).mode, 0o755);
    assert.deepEqual(readdirSync(`${place.workspace}/src`).toSorted(), ['a.txt', 'new', 'run']);
  });

  test('a hunk whose line numbers are off is found by its context, unless two places fit as well', async () => {
    await using place = await startPlace();
    await write(place, { far: numbered(40), twice: 'x\nmark\ny\nx\nmark\ny\n' });
    await place.files.patch('.', '--- far\n+++ far\n@@ -3,2 +3,2 @@\n line 30\n-line 31\n+changed\n');
    assert.match((await contentOf(place.files, 'far')).toString(), /line 30\nchanged\nline 32/);
    await assert.rejects(place.files.patch('.', '--- twice\n+++ twice\n@@ -4,1 +4,1 @@\n-mark\n+here\n').then(() => place.files.patch('.', '--- x\n+++ x\n@@ -1 +1 @@\n-a\n+b\n')), { code: 'FILE_NOT_FOUND' });
  });

  for (const [what, diff, message] of [
    ['a hunk that does not fit names the hunk', '--- a\n+++ a\n@@ -1,2 +1,2 @@\n one\n-other\n+x\n', /hunk 1 of a .*does not fit/],
    ['text that is no diff', 'hello\n', /no unified diff/],
    ['a rename', 'diff --git a/a b/c\nrename from a\nrename to c\n', /something else/],
    ['a binary patch', 'GIT binary patch\n', /something else/],
    ['counts that are not those of the lines', '--- a\n+++ a\n@@ -1,5 +1,5 @@\n one\n-two\n+2\n', /no line of a hunk/],
    ['a file that is there already', '--- /dev/null\n+++ a\n@@ -0,0 +1 @@\n+x\n', /there already/],
    ['one file twice', '--- a\n+++ a\n@@ -1 +1 @@\n-one\n+1\n--- a\n+++ a\n@@ -2 +2 @@\n-two\n+2\n', /changed twice/],
    ['two names', '--- a\n+++ c\n@@ -1 +1 @@\n-one\n+1\n', /does not rename/],
    ['a hunk without a file', '@@ -1 +1 @@\n-one\n+1\n', /hunk of no file/],
  ] as const) {
    test(`PATCH_REJECTED: ${what}`, async () => {
      await using place = await startPlace();
      await write(place, { a: 'one\ntwo\n' });
      await assert.rejects(place.files.patch('.', diff), { code: 'PATCH_REJECTED', message });
      assert.equal((await contentOf(place.files, 'a')).toString(), 'one\ntwo\n');
    });
  }

  test('nothing is changed when one file of many does not fit, cannot be written or is written by somebody else', async () => {
    await using place = await startPlace();
    await write(place, { a: 'one\n', b: 'two\n', 'sealed/c': 'three\n' });
    const change = (name: string, from: string, to: string): string => `--- ${name}\n+++ ${name}\n@@ -1 +1 @@\n-${from}\n+${to}\n`;
    await assert.rejects(place.files.patch('.', change('a', 'one', '1') + change('b', 'other', '2')), { code: 'PATCH_REJECTED', message: /of b/ });
    await place.files.chmod('sealed', 0o555);
    const made = '--- /dev/null\n+++ made\n@@ -0,0 +1 @@\n+x\n';
    await assert.rejects(place.files.patch('.', change('a', 'one', '1') + made + change('sealed/c', 'three', '3')), { code: 'FILE_DENIED' });
    assert.equal((await contentOf(place.files, 'a')).toString(), 'one\n');
    assert.deepEqual(readdirSync(place.workspace).toSorted(), ['a', 'b', 'sealed']);
  });

  test('no name in a diff leads out of its directory', async () => {
    await using place = await startPlace();
    await write(place, { 'in/a': 'one\n', a: 'one\n' });
    for (const name of ['../a', '/workspace/a', '/etc/passwd', 'x/../../a', '../../etc/passwd', '.']) {
      await assert.rejects(place.files.patch('in', `--- ${name}\n+++ ${name}\n@@ -1 +1 @@\n-one\n+1\n`), { code: 'FILE_OUTSIDE' }, name);
    }
    await place.files.symlink('in/link', '../a');
    await assert.rejects(place.files.patch('in', '--- link\n+++ link\n@@ -1 +1 @@\n-one\n+1\n'), { code: 'FILE_NOT_REGULAR' });
  });

  test('whatever diff(1) says of two texts makes the second of the first', async () => {
    await using place = await startPlace();
    const dir = mkdtempSync(`${tmpdir()}/caisson-diff-`);
    try {
      const line = fc.constantFrom('a', 'b', 'c', '', '-x', '+y', ' z', '@@', 'ü');
      const text = fc.tuple(fc.array(line, { maxLength: 12 }), fc.boolean()).map(([lines, ends]) => lines.join('\n') + (ends && lines.length > 0 ? '\n' : ''));
      await fc.assert(fc.asyncProperty(text, text, async (before, after) => {
        fc.pre(before !== after && before !== '' && after !== '');
        writeFileSync(`${dir}/before`, before);
        writeFileSync(`${dir}/after`, after);
        const { stdout } = spawnSync('diff', ['-u', '--label', 'f', '--label', 'f', `${dir}/before`, `${dir}/after`], { encoding: 'utf8' });
        await place.files.write('f', Buffer.from(before), { sync: false });
        await place.files.patch('.', stdout);
        assert.equal((await contentOf(place.files, 'f')).toString(), after);
      }), { numRuns: 300, seed: 4 });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test('bytes that are no diff are refused and change nothing', async () => {
    await using place = await startPlace();
    await write(place, { a: 'one\n' });
    const piece = fc.constantFrom('--- a\n', '+++ a\n', '@@ -1 +1 @@\n', '@@ -1,2 +1,9 @@\n', '-one\n', '+x\n', ' one\n', '\\ No newline\n', 'junk\n', '@@ -0,0 +0,0 @@\n');
    await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 10 }), async (pieces) => {
      await place.files.write('a', Buffer.from('one\n'), { sync: false });
      const outcome = await place.files.patch('.', pieces.join('')).then(() => 'applied', (error: { readonly code: string }) => error.code);
      assert.ok(['applied', 'PATCH_REJECTED', 'REQUEST_INVALID'].includes(outcome), outcome);
      if (outcome !== 'applied') assert.equal((await contentOf(place.files, 'a')).toString(), 'one\n');
    }), { numRuns: 500, seed: 5 });
  });
});

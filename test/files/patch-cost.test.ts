import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { leastOf } from '../least.ts';
import { contentOf, skip, startPlace, type Place } from './given.ts';

/** How long the process that patches answers nobody else, at most. */
async function longestPause(work: () => Promise<unknown>): Promise<number> {
  let [last, longest] = [performance.now(), 0];
  const look = (): void => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(look, 5);
  await work().finally(() => clearInterval(timer));
  look();
  return longest;
}

const PAUSE_MOST_MS = 1_500;

async function assertServes(work: () => Promise<unknown>): Promise<void> {
  const pauseMs = await leastOf(PAUSE_MOST_MS, () => longestPause(work));
  assert.ok(pauseMs < PAUSE_MOST_MS, `${pauseMs} ms`);
}

const diffOf = (hunks: readonly string[]): string => `--- a/f\n+++ b/f\n${hunks.join('')}`;

async function withFile(content: Buffer): Promise<Place> {
  const place = await startPlace();
  await place.files.write('f', content);
  return place;
}

suite('what a patch costs', { skip, timeout: 120_000 }, () => {
  test('PATCH_REJECTED: a hunk that nearly fits everywhere does not hold up whoever else is served', async () => {
    await using place = await withFile(Buffer.alloc(1_000_000, '\n'));
    const same = 200_000;
    const hunk = `@@ -5000,${same + 1} +5000,${same} @@\n${' \n'.repeat(same)}-x\n`;
    await assertServes(() => assert.rejects(place.files.patch('/workspace', diffOf([hunk])), { code: 'PATCH_REJECTED' }));
  });

  test('PATCH_REJECTED: a file of nothing but ends of lines is not taken apart', async () => {
    await using place = await withFile(Buffer.alloc(16 * 1024 ** 2, '\n'));
    await assertServes(() => assert.rejects(place.files.patch('/workspace', diffOf(['@@ -1 +1 @@\n-\n+x\n'])), { code: 'PATCH_REJECTED' }));
  });

  for (const [what, sign] of [['carriage returns', '\r'], ['tabs', '\t']] as const) {
    test(`PATCH_REJECTED: a name of nothing but ${what} is read in one pass`, async () => {
      await using place = await withFile(Buffer.from('x'));
      const diff = `--- a${sign.repeat(250_000)}\rx\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n`;
      await assertServes(() => assert.rejects(place.files.patch('/workspace', diff)));
    });
  }

  test('a change far down a file of many lines is made', async () => {
    await using place = await withFile(Buffer.from(`${'line\n'.repeat(400_000)}last\n`));
    await place.files.patch('/workspace', diffOf(['@@ -400001 +400001 @@\n-last\n+changed\n']));
    assert.ok((await contentOf(place.files, 'f')).subarray(-16).toString().endsWith('line\nchanged\n'));
  });
});

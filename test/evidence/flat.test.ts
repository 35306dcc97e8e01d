import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openFileLog } from '@caisson/evidence';
import { fitting, tempDir, ticking } from './given.ts';

/** Calls before the first look, when every window is full, and before the last. */
const FIRST = 6_000;
const LAST = 24_000;
const MOST_BYTES = 4 * 1024 * 1024;

/** What a process that verifies still reaches, after so many entries. */
const VERIFIER = `
const { verifyLog } = await import('@caisson/evidence');
const [dir, ...looks] = process.argv.slice(1);
const seen = [];
let entries = 0;
await verifyLog(dir, { visit: () => {
  entries += 1;
  if (!looks.includes(String(entries))) return;
  globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  seen.push(heapUsed + arrayBuffers);
} });
console.log(JSON.stringify(seen));
`;

test('who verifies a log four times as long needs no more memory for it', { timeout: 60_000 }, async (t) => {
  const dir = tempDir(t);
  {
    await using log = await openFileLog({ dir, now: ticking() });
    let seq = 0;
    const origin = (): { run: string; seq: number } => ({ run: 'a'.repeat(32), seq: (seq += 1) });
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < LAST) {
        const subject = `sbx-${next++}`;
        for (const kind of ['intent', 'outcome'] as const) await log.append({ ...fitting(kind, subject), origin: origin() });
      }
    };
    await Promise.all(Array.from({ length: 64 }, lane));
  }
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--input-type=module', '-e', VERIFIER, dir, String(2 * FIRST), String(2 * LAST)], { cwd: import.meta.dirname });
  const [first = Number.NaN, last = Number.NaN] = JSON.parse(stdout) as number[];
  assert.ok(last - first < MOST_BYTES, `${first} bytes after ${2 * FIRST} entries, ${last} after ${2 * LAST}`);
});

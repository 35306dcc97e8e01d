import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import * as files from '@caisson/tar';
import * as images from '@caisson/images';
import { skip, startPlace } from './given.ts';

/** A header as an attacker would write it. */
function header(name: string, type: string, sizeBytes: number, mtime = '00000000001'): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write(`0000644\0${'0000000\0'.repeat(2)}${sizeBytes.toString(8).padStart(11, '0')}\0${mtime}\0        ${type}`, 100);
  block.write('ustar\u000000', 257);
  block.write(`${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** So many extended headers, each with a key of its own, and then a file. */
async function* extendedHeaders(count: number, bytes = 1024 * 1024): AsyncGenerator<Buffer, void> {
  for (let n = 0; n < count; n++) {
    yield header('pax', 'x', bytes);
    yield Buffer.from(`${bytes} k${String(n).padStart(6, '0')}=${'v'.repeat(bytes - 10 - String(bytes).length)}\n`);
  }
  yield Buffer.concat([header('f', '0', 0), Buffer.alloc(1024)]);
}

const READERS = [['of a workspace', files.tarEntries, 'ARCHIVE_INVALID'], ['of an image', images.tarEntries, 'IMAGE_INVALID']] as const;

for (const [what, read, code] of READERS) {
  test(`extended headers without end do not fill the memory of the reader of archives ${what}`, async () => {
    const before = process.memoryUsage();
    await assert.rejects(async () => {
      for await (const { name } of read(extendedHeaders(600))) assert.equal(name, 'f');
    }, { code });
    const now = process.memoryUsage();
    assert.ok(now.rss - before.rss < 200 * 1024 ** 2, `${Math.round((now.rss - before.rss) / 1024 ** 2)} MiB more`);
  });

  test(`an extended header that comes byte by byte costs the reader of archives ${what} its length, not the square of it`, async () => {
    const whole: Buffer[] = [];
    for await (const chunk of extendedHeaders(1, 256 * 1024)) whole.push(chunk);
    const bytes = Buffer.concat(whole);
    const singles = async function* (): AsyncGenerator<Buffer, void> { for (let at = 0; at < bytes.length; at++) yield bytes.subarray(at, at + 1); };
    const took: { readonly readMs: number; readonly aloneMs: number }[] = [];
    const isLinear = (): boolean => took.some(({ readMs, aloneMs }) => readMs < 10 * aloneMs);
    // What else this machine does falls on one half of a measurement or on the other, so one clean measurement is enough.
    while (took.length < 5 && !isLinear()) {
      const beganMs = performance.now();
      for await (const single of singles()) assert.ok(single.length === 1);
      const aloneMs = performance.now() - beganMs;
      const names: string[] = [];
      for await (const { name } of read(singles())) names.push(name);
      took.push({ readMs: performance.now() - beganMs - aloneMs, aloneMs });
      assert.deepEqual(names, ['f']);
    }
    assert.ok(isLinear(), took.map(({ readMs, aloneMs }) => `${Math.round(readMs)} ms, and ${Math.round(aloneMs)} without a reader`).join('; '));
  });
}

suite('archives of which a part is out of range', { skip, timeout: 60_000 }, () => {
  test('a time that no file system holds does not wedge the helper for whoever comes after', async () => {
    await using place = await startPlace();
    const archive = Buffer.concat([header('f', '0', 0, '77777777777'), Buffer.alloc(1024)]);
    for (let n = 0; n < 100; n++) await place.files.unpack(`new${n}`, Readable.from([archive])).catch((error: unknown) => assert.ok(error instanceof Error));
    await place.files.write('after', Buffer.from('x'));
    assert.equal((await place.files.stat('after')).sizeBytes, 1);
    assert.equal((await place.files.stat('new0/f')).type, 'file');
  });
});

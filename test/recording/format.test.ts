import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { asciicast, verifyRecording } from '@caisson/cli';
import { readRecording, type RecordedSegment } from '@caisson/contract';
import { Journal, Recorder } from '@caisson/runtime';

type Wrote = readonly (readonly ['stdout' | 'stderr', Buffer] | readonly ['resize', readonly [number, number]])[];
type Options = { readonly tty?: { readonly cols: number; readonly rows: number } | null; readonly now?: () => number; readonly path?: string };

/** The recording and the digests of what was written, by the journal that the launcher keeps. */
async function recorded(wrote: Wrote, { tty = null, now = Date.now, path = '/nowhere/journal' }: Options = {}): Promise<{ readonly bytes: Buffer; readonly segments: readonly RecordedSegment[]; readonly journal: Journal }> {
  const journal = new Journal(path, new Recorder({ now, tty }));
  for (const [kind, what] of wrote) {
    if (kind === 'resize') journal.resize({ cols: what[0], rows: what[1] });
    else await journal.append(kind, what);
  }
  journal.end();
  return { bytes: await all(journal.recording()), segments: journal.segments, journal };
}

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const SAID: Wrote = [['stdout', Buffer.from('one\n')], ['stderr', Buffer.from([0xff, 0xfe])], ['stdout', Buffer.from('two\n')]];

test('a recording holds every byte that was written, whatever it is, and reads the same wherever it is cut', async () => {
  const wrote = fc.array(fc.tuple(fc.constantFrom('stdout' as const, 'stderr' as const), fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from(bytes))), { maxLength: 12 });
  await fc.assert(fc.asyncProperty(wrote, fc.integer({ min: 1, max: 60 }), async (what, size) => {
    const { bytes, segments } = await recorded(what);
    const read: [string, Buffer][] = [];
    for await (const piece of readRecording(cut(bytes, size))) {
      assert.ok(!('bad' in piece));
      if ('record' in piece) read.push([piece.record.kind, Buffer.from(piece.record.bytes)]);
    }
    assert.deepEqual(read, what);
    assert.deepEqual(await verifyRecording(cut(bytes, size), segments), { good: segments.length, bad: null });
  }), { numRuns: 50 });
});

test('a recording with any bit changed, or cut anywhere, is found bad, and reading it throws nothing', async () => {
  const { bytes, segments } = await recorded(SAID);
  for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    assert.equal((await verifyRecording(cut(changed, 64), segments)).bad?.segment, 0, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length += 1) assert.equal((await verifyRecording(cut(bytes.subarray(0, length), 64), segments)).bad?.segment, 0);
});

test('foreign bytes are no recording, and never throw', async () => {
  const { bytes, segments } = await recorded(SAID);
  const line = bytes.subarray(0, bytes.indexOf(0x0a) + 1);
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (foreign, isBehindHeader) => {
    const text = isBehindHeader ? Buffer.concat([line, foreign]) : Buffer.from(foreign);
    assert.notEqual((await verifyRecording(cut(text, 7), segments)).bad, null);
  }));
});

test('the first bad segment of a long recording is named: changed, exchanged, missing or added', async (t) => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-recording-`);
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const path = `${dir}/journal`;
  const piece = Buffer.alloc(64 * 1024, 'x');
  const { bytes, segments, journal } = await recorded(Array.from({ length: 64 }, () => ['stdout', piece] as const), { path });
  assert.ok(segments.length >= 4, String(segments.length));
  assert.ok(Math.max(...segments.map((each) => each.bytes)) <= 1024 * 1024 + piece.length + 11);
  const start = bytes.indexOf(0x0a) + 1;
  const [first = 0, second = 0] = segments.map((each) => each.bytes);
  const verdict = async (text: Buffer): Promise<unknown> => (await verifyRecording(cut(text, 100_000), segments)).bad?.segment;

  const edited = Buffer.from(bytes);
  edited[start + first + second + 200] = 0x79;
  assert.equal(await verdict(edited), 2);
  const [a, b] = [bytes.subarray(start, start + first), bytes.subarray(start + first, start + first + second)];
  assert.equal(await verdict(Buffer.concat([bytes.subarray(0, start), b, a, bytes.subarray(start + first + second)])), 0);
  assert.equal(await verdict(Buffer.concat([bytes.subarray(0, start), a, bytes.subarray(start + first + second)])), 1);
  assert.deepEqual((await verifyRecording(cut(bytes.subarray(0, start + first), 100_000), segments)).bad, { segment: 1, reason: 'it is missing' });
  assert.equal(await verdict(Buffer.concat([bytes, bytes.subarray(start, start + 64 * 1024 + 11)])), segments.length);

  // The file is the truth that is read, and the digests are of what came: whoever edits the one does not match the other.
  const file = readFileSync(path);
  file[first + 500] = 0x79;
  writeFileSync(path, file);
  assert.equal(await verdict(await all(journal.recording())), 1);
  rmSync(path);
  await assert.rejects(all(journal.recording()), { code: 'ENOENT' });
});

test('the number of digests of one exec is bounded, however much it writes', () => {
  const recorder = new Recorder({ now: () => 0, tty: null });
  const piece = Buffer.alloc(8 * 1024 * 1024);
  for (let written = 0; written < 600 * 1024 * 1024; written += piece.length) recorder.take('stdout', piece);
  const sizes = recorder.end().map(({ bytes }) => bytes);
  assert.ok(sizes.length <= 128, String(sizes.length));
});

test('the digest of a segment does not give away a guess: the same output has another each time', async () => {
  const [first, second] = [await recorded(SAID), await recorded(SAID)];
  assert.notEqual(first.segments[0]?.sha256, second.segments[0]?.sha256);
});

test('as asciicast v2 a recording has a header, times, streams and sizes, and nothing of the command', async () => {
  let nowMs = 1_700_000_000_000;
  const now = (): number => (nowMs += 250);
  const euro = Buffer.from('€');
  const { bytes } = await recorded([['stdout', euro.subarray(0, 1)], ['stdout', euro.subarray(1)], ['resize', [100, 40]], ['stderr', Buffer.from('no\n')], ['stdout', Buffer.from([0xff])]], { tty: { cols: 120, rows: 30 }, now });
  const lines: unknown[] = [];
  for await (const line of asciicast(cut(bytes, 9))) lines.push(JSON.parse(line));
  assert.deepEqual(lines, [
    { version: 2, width: 120, height: 30, timestamp: 1_700_000_000 },
    [0.5, 'o', '€'], [0.75, 'r', '100x40'], [1, 'm', 'stderr'], [1, 'o', 'no\n'], [1.25, 'm', 'stdout'], [1.25, 'o', '\ufffd'],
  ]);
});

test('readers of the output see none of the sizes, and sizes that never end take no room', async (t) => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-recording-`);
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const journal = new Journal(`${dir}/journal`, new Recorder({ now: Date.now, tty: { cols: 80, rows: 24 } }));
  let wrote = '';
  for (let round = 0; round < 3_000; round += 1) {
    journal.resize({ cols: 1 + (round % 200), rows: 24 });
    wrote += `${round} ${'x'.repeat(50)}\n`;
    await journal.append('stdout', Buffer.from(`${round} ${'x'.repeat(50)}\n`));
  }
  journal.end();
  for (const from of [0, 1, 70_001, wrote.length - 1]) {
    let read = '';
    for await (const { bytes } of journal.read(from, new AbortController().signal)) read += bytes.toString();
    assert.equal(read, wrote.slice(from));
  }
  const bytes = await all(journal.recording());
  assert.deepEqual((await verifyRecording(cut(bytes, 4_096), journal.segments)).bad, null);
  assert.ok(bytes.length < wrote.length + 3_000 * 11 + 1_000 * 15 + 4_096);
  await journal[Symbol.asyncDispose]();
});

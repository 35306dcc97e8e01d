import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CaissonError } from '@caisson/contract/errors';
import { encodeFrame, FRAME_KINDS, FrameReader, PAYLOAD_MAX, type Frame } from '@caisson/wire';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const frames = fc.array(fc.record({ kind: fc.constantFrom(...FRAME_KINDS), stream: u32, payload: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 12 });
const cuts = fc.array(fc.nat({ max: 600 }), { maxLength: 30 });

function split(bytes: Buffer, at: readonly number[]): Buffer[] {
  const edges = [0, ...at.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

function readAll(chunks: readonly Buffer[]): Frame[] {
  const reader = new FrameReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
}

const plain = ({ kind, stream, payload }: { kind: string; stream: number; payload: Uint8Array }): unknown => [kind, stream, Buffer.from(payload).toString('hex')];

function refuses(parse: () => unknown): boolean {
  try {
    parse();
    return false;
  } catch (error) {
    if (error instanceof CaissonError && error.code === 'FRAME_INVALID') return true;
    throw error;
  }
}

test('frames read in any chunks are the frames that were written', () => {
  fc.assert(fc.property(frames, cuts, (written, at) => {
    const bytes = Buffer.concat(written.map(({ kind, stream, payload }) => encodeFrame(kind, stream, payload)));
    assert.deepEqual(readAll(split(bytes, at)).map(plain), written.map(plain));
  }), { numRuns: 500 });
});

test('the frames before the first bad byte are handed out, and then FRAME_INVALID, in any chunks', () => {
  fc.assert(fc.property(frames, fc.integer({ min: FRAME_KINDS.length, max: 255 }), cuts, (written, kind, at) => {
    const bad = encodeFrame('message', 0, Buffer.alloc(3));
    bad.writeUInt8(kind, 4);
    const bytes = Buffer.concat([...written.map((frame) => encodeFrame(frame.kind, frame.stream, frame.payload)), bad]);
    const reader = new FrameReader();
    const read: unknown[] = [];
    assert.ok(refuses(() => {
      for (const chunk of split(bytes, at)) for (const frame of reader.push(chunk)) read.push(plain(frame));
    }));
    assert.deepEqual(read, written.map(plain));
  }), { numRuns: 300 });
});

test('bytes of any kind are FRAME_INVALID or frames within bounds', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), cuts, (random, small, at) => {
    const bytes = Buffer.from(random);
    if (small && bytes.length > 4) bytes.writeUInt16LE(0, 2);
    const refused = refuses(() => readAll([bytes]));
    assert.equal(refuses(() => readAll(split(bytes, at))), refused);
    if (!refused) for (const { kind } of readAll([bytes])) assert.ok(FRAME_KINDS.includes(kind));
  }), { numRuns: 2_000 });
});

test('the longest payload passes and a longer one is FRAME_INVALID at its header, on both sides', () => {
  const longest = encodeFrame('stdout', 7, Buffer.alloc(PAYLOAD_MAX, 1));
  assert.equal(readAll(split(longest, [5, 9, 100_000, PAYLOAD_MAX]))[0]?.payload.length, PAYLOAD_MAX);
  const header = longest.subarray(0, 9);
  header.writeUInt32LE(PAYLOAD_MAX + 1, 0);
  assert.ok(refuses(() => readAll([header])));
  assert.ok(refuses(() => encodeFrame('message', 0, Buffer.alloc(PAYLOAD_MAX + 1))));
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { encodeDial, encodeLane, encodeSize, encodeSpawn, LANE, LANE_PAYLOAD_MAX, LaneReader, type LaneFrame, type SpawnPayload } from '@caisson/runtime';
import { buildDir, compile } from './given.ts';

const hex = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('hex') || '-';
const byte = fc.integer({ min: 0, max: 255 });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 1, max: 65_535 });
const payload = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 0, max: LANE_PAYLOAD_MAX }).map((length) => new Uint8Array(length).fill(7)));
const text = fc.string({ unit: 'binary', maxLength: 12 }).map((string) => string.replaceAll('\0', '?'));

const spawns: fc.Arbitrary<SpawnPayload> = fc.record({
  argv: fc.array(text, { minLength: 1, maxLength: 6 }),
  env: fc.array(text, { maxLength: 6 }),
  cwd: text.map((path) => `/${path}`),
  stdin: fc.boolean(),
  windowBytes: u32,
  capBytes: fc.maxSafeNat(),
  tty: fc.option(fc.record({ cols: u16, rows: u16 }), { nil: undefined }),
}).map(({ tty, ...spawn }) => (tty === undefined ? spawn : { ...spawn, tty }));

suite('lane.c and lane.ts agree', () => {
  const build = buildDir();
  let vectors = '';
  before(async () => {
    vectors = await compile(`${build.path}/vectors`, ['fuzz/lane_vectors.c', 'lane.c'], ['-O2']);
  });
  after(() => build[Symbol.dispose]());

  const inC = (mode: 'decode' | 'encode', input: string | Buffer): Buffer => execFileSync(vectors, [mode], { input, maxBuffer: 2 ** 30 });
  const decode = (bytes: Buffer): string[] => inC('decode', bytes).toString().trimEnd().split('\n');

  test('what lane.ts writes is what lane.c reads', () => {
    const frames = fc.sample(fc.record({ type: byte.filter((type) => !PARSED.includes(type)), exec: u32, payload }), 300);
    const lines = decode(Buffer.concat(frames.map((frame) => encodeLane(frame.type, frame.exec, frame.payload))));
    assert.deepEqual(lines, frames.map((frame) => `frame ${frame.type} 0 ${frame.exec} ${hex(frame.payload)}`));
  });

  test('a spawn that lane.ts writes is the one that lane.c reads', () => {
    const asked = fc.sample(spawns, 1_000);
    const lines = decode(Buffer.concat(asked.map((spawn, index) => encodeLane(LANE.spawn, index + 1, encodeSpawn(spawn)))));
    const list = (strings: readonly string[]): string => [strings.length, ...strings.map(hex)].join(' ');
    assert.deepEqual(lines.filter((line) => line.startsWith('spawn ')), asked.map(({ argv, env, cwd, stdin, windowBytes, capBytes, tty }) =>
      `spawn ${(stdin ? 1 : 0) + (tty ? 2 : 0)} ${windowBytes} ${capBytes} ${capBytes} ${tty?.cols ?? 0} ${tty?.rows ?? 0} ${hex(cwd)} ${list(argv)} ${list(env)}`));
  });

  test('a size and a port that lane.ts writes are the ones that lane.c reads', () => {
    const asked = fc.sample(fc.record({ cols: u16, rows: u16, port: u16, windowBytes: u32 }), 300);
    const lines = decode(Buffer.concat(asked.flatMap(({ cols, rows, port, windowBytes }) =>
      [encodeLane(LANE.resize, 1, encodeSize({ cols, rows })), encodeLane(LANE.dial, 1, encodeDial(port, windowBytes))])));
    assert.deepEqual(lines.filter((line) => !line.startsWith('frame ')), asked.flatMap(({ cols, rows, port, windowBytes }) => [`size ${cols} ${rows}`, `dial ${windowBytes} ${port}`]));
  });

  for (const [cols, rows] of [[0, 1], [1, 0], [65_536, 1], [1, -1], [1.5, 1], [NaN, 1]] as const) {
    test(`lane.ts refuses a terminal of ${cols} columns and ${rows} rows`, () => {
      assert.throws(() => encodeSize({ cols, rows }), { code: 'REQUEST_INVALID' });
    });
  }

  const BAD_SMALL: readonly (readonly [string, number, string])[] = [
    ['no columns', LANE.resize, '00000100'],
    ['no rows', LANE.resize, '01000000'],
    ['a size cut short', LANE.resize, '010001'],
    ['port 0', LANE.dial, '0100000000000000'],
    ['port 65536', LANE.dial, '0100000000000100'],
    ['a port with a byte after it', LANE.dial, '010000000100000000'],
  ];
  for (const [what, type, bytes] of BAD_SMALL) {
    test(`lane.c refuses ${what}`, () => assert.equal(decode(encodeLane(type, 1, Buffer.from(bytes, 'hex')))[1], 'invalid'));
  }

  test('what lane.c writes is what lane.ts reads', () => {
    const frames = fc.sample(fc.record({ type: byte, stream: byte, exec: u32, payload }), 300);
    const written = inC('encode', frames.map((frame) => `frame ${frame.type} ${frame.stream} ${frame.exec} ${hex(frame.payload)}\n`).join(''));
    const read = [...new LaneReader().push(written)];
    assert.deepEqual(read.map(plain), frames.map(plain));
  });

  const HEADERS = [
    ['a payload of the longest length', Buffer.from('00000400010000000100000000', 'hex'), true],
    ['a payload one byte too long', Buffer.from('010004000100000001000000', 'hex'), false],
    ['a length of all ones', Buffer.from('ffffffff0100000001000000', 'hex'), false],
    ['a reserved byte that is set', Buffer.from('000000000100010001000000', 'hex'), false],
    ['the other reserved byte that is set', Buffer.from('000000000100000101000000', 'hex'), false],
  ] as const;
  for (const [what, bytes, valid] of HEADERS) {
    test(`both ${valid ? 'take' : 'refuse'} ${what}`, () => {
      const inTs = (): void => void [...new LaneReader().push(Buffer.from(bytes))];
      if (valid) {
        const whole = Buffer.concat([bytes.subarray(0, 12), Buffer.alloc(bytes.readUInt32LE(0))]);
        assert.match(decode(whole)[0] ?? '', /^frame 1 0 1 0+$/);
        assert.equal([...new LaneReader().push(whole)].length, 1);
      } else {
        assert.deepEqual(decode(bytes), ['invalid']);
        assert.throws(inTs, { code: 'FRAME_INVALID' });
      }
    });
  }

  const BAD_SPAWNS: readonly (readonly [string, (payload: Buffer) => Buffer])[] = [
    ['is cut short', (good) => good.subarray(0, good.length - 1)],
    ['has a byte after its end', (good) => Buffer.concat([good, Buffer.from([0])])],
    ['has no program', (good) => change(good, 24, 0)],
    ['counts more arguments than it has', (good) => change(good, 24, 4)],
    ['counts more arguments than memory', (good) => change(good, 24, 0xffff_ffff)],
    ['counts more variables than memory', (good) => change(good, 28, 0xffff_ffff)],
    ['has an unknown flag', (good) => change(good, 0, 4)],
    ['wants a terminal without columns', (good) => Buffer.concat([change(good, 0, 2).subarray(0, 32), Buffer.from('00000100', 'hex'), good.subarray(32)])],
    ['wants a terminal and ends before its size', (good) => change(good, 0, 2).subarray(0, 34)],
    ['has a relative working directory', (good) => Buffer.concat([good.subarray(0, 32), Buffer.from('w'), good.subarray(33)])],
  ];
  for (const [what, spoil] of BAD_SPAWNS) {
    test(`lane.c refuses a spawn that ${what}`, () => {
      const good = encodeSpawn({ argv: ['a', 'b'], env: ['C=d'], cwd: '/w', stdin: true, windowBytes: 1, capBytes: 2 });
      assert.match(decode(encodeLane(LANE.spawn, 1, good))[1] ?? '', /^spawn /);
      assert.equal(decode(encodeLane(LANE.spawn, 1, spoil(good)))[1], 'invalid');
    });
  }
});

const PARSED: readonly number[] = [LANE.spawn, LANE.resize, LANE.dial];
const plain = ({ type, stream, exec, payload: bytes }: Pick<LaneFrame, 'type' | 'stream' | 'exec'> & { payload: Uint8Array }): string => `${type} ${stream} ${exec} ${hex(bytes)}`;

function change(payloadBytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(payloadBytes);
  copy.writeUInt32LE(value, at);
  return copy;
}

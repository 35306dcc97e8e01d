import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { encodeDial, encodeLane, encodeSpawn, LANE, u32 } from '@caisson/runtime';
import { buildDir, compile, INIT_SOURCES, Pid1, SANITIZERS, type Ended } from './given.ts';

/** What the init program ends with by itself: 0 when a lane ends, 71 when a frame breaks the protocol. */
const OWN_CODES = [0, 71];
const COMMANDS = [['true'], ['sleep', '0.1'], ['cat'], ['sh', '-c', 'head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2'], ['nosuchprogram'], ['sh', '-c', 'kill -9 $$']];

type Lane = 'control' | 'data';
type Step = { readonly lane: Lane; readonly bytes: Uint8Array } | { readonly pauseMs: number };

const exec = fc.integer({ min: 1, max: 6 });
/** Seldom one that is taken or not allowed, because that ends the session at once. */
const newExec = fc.oneof({ weight: 40, arbitrary: fc.integer({ min: 1, max: 60 }).map((id) => Math.ceil(id ** 2 / 200)) }, { weight: 1, arbitrary: fc.constant(0) });
const lane = fc.constantFrom<Lane>('control', 'data');
const edge = fc.oneof(fc.constantFrom(0, 1, 65_535, 65_536, 0x7fff_ffff, 0xffff_ffff), fc.nat({ max: 100_000 }));

const spawnPayload = fc
  .record({ argv: fc.constantFrom(...COMMANDS), stdin: fc.boolean(), windowBytes: edge, capBytes: edge, tty: fc.option(fc.constant({ cols: 80, rows: 24 })) })
  .map(({ tty, ...spawn }) => encodeSpawn({ ...spawn, ...(tty === null ? {} : { tty }), env: ['PATH=/usr/bin:/bin'], cwd: '/tmp' }));
/** Ports of the host on which nothing listens; seldom one that is none. */
const dialPayload = fc.tuple(edge, fc.oneof({ weight: 40, arbitrary: fc.constantFrom(1, 2, 65_535) }, { weight: 1, arbitrary: fc.constantFrom(0, 65_536) })).map(([window, port]) => Buffer.concat([u32(window), u32(port)]));
const sizePayload = fc.oneof({ weight: 40, arbitrary: fc.constantFrom(0x0018_0050, 0xffff_ffff, 0x0001_0001) }, { weight: 1, arbitrary: edge }).map(u32);
const spoiled = fc
  .tuple(spawnPayload, fc.array(fc.tuple(fc.nat({ max: 90 }), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }), fc.nat({ max: 4 }))
  .map(([payload, flips, cut]) => {
    const copy = Buffer.from(payload);
    for (const [at, value] of flips) copy[at % copy.length] = value;
    return copy.subarray(0, copy.length - cut);
  });

const control = (type: number, id: number, payload: Buffer): Step => ({ lane: 'control', bytes: encodeLane(type, id, payload) });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(newExec, spawnPayload).map(([id, payload]) => control(LANE.spawn, id, payload)) },
  { weight: 1, arbitrary: fc.tuple(newExec, spoiled).map(([id, payload]) => control(LANE.spawn, id, payload)) },
  { weight: 3, arbitrary: fc.tuple(exec, edge).map(([id, bytes]) => control(LANE.credit, id, u32(bytes))) },
  { weight: 2, arbitrary: fc.tuple(exec, edge).map(([id, signo]) => control(LANE.signal, id, u32(signo))) },
  { weight: 2, arbitrary: fc.tuple(newExec, dialPayload).map(([id, payload]) => control(LANE.dial, id, payload)) },
  { weight: 2, arbitrary: fc.tuple(exec, sizePayload).map(([id, payload]) => control(LANE.resize, id, payload)) },
  { weight: 2, arbitrary: exec.map((id) => control(LANE.kill, id, Buffer.alloc(0))) },
  { weight: 5, arbitrary: fc.tuple(exec, edge).map(([id, length]) => ({ lane: 'data' as const, bytes: encodeLane(LANE.stdin, id, Buffer.alloc(length % 70_000)) })) },
  { weight: 1, arbitrary: fc.tuple(lane, fc.integer({ min: 0, max: 255 }), exec, fc.uint8Array({ maxLength: 40 })).map(([to, type, id, payload]) => ({ lane: to, bytes: encodeLane(type, id, payload) })) },
  { weight: 1, arbitrary: fc.tuple(lane, fc.uint8Array({ maxLength: 40 })).map(([to, bytes]) => ({ lane: to, bytes })) },
  { weight: 2, arbitrary: fc.nat({ max: 5 }).map((pauseMs) => ({ pauseMs })) },
);

suite('the init program under the sanitizers', () => {
  const build = buildDir();
  const reports = `${build.path}/reports`;
  let binary = '';
  before(async () => {
    mkdirSync(reports);
    chmodSync(reports, 0o777);
    binary = await compile(`${build.path}/init`, INIT_SOURCES, SANITIZERS);
  });
  after(() => build[Symbol.dispose]());

  /** Its own stderr is /dev/null, so the sanitizers write to a file. */
  const start = (): Pid1 => new Pid1(binary, {
    ASAN_OPTIONS: `abort_on_error=1:detect_leaks=0:log_path=${reports}/asan`,
    UBSAN_OPTIONS: `halt_on_error=1:abort_on_error=1:log_path=${reports}/ubsan`,
  });

  function assertOwnEnd(ended: Ended): void {
    const report = readdirSync(reports).map((name) => readFileSync(`${reports}/${name}`, 'utf8')).join('\n');
    assert.ok(ended.signal === null && OWN_CODES.includes(ended.code ?? -1), `ended with ${ended.signal ?? ended.code}\n${report}`);
    assert.equal(report, '');
  }

  async function play(script: readonly Step[], reads: boolean): Promise<Ended> {
    await using pid1 = start();
    if (reads) for (const end of [pid1.control, pid1.data]) end.resume();
    for (const step of script) {
      if ('pauseMs' in step) await delay(step.pauseMs);
      else pid1[step.lane].write(step.bytes);
    }
    await delay(5);
    pid1.data.destroy();
    pid1.control.destroy();
    const ended = await Promise.race([pid1.ended, delay(5_000, null, { ref: false })]);
    assert.notEqual(ended, null, 'it did not end with its lanes');
    return ended as Ended;
  }

  test('never ends but by its own codes, whatever is sent to it', async () => {
    await fc.assert(fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 40 }), async (script) => assertOwnEnd(await play(script, true))), { numRuns: 150 });
  });

  test('never ends but by its own codes when nobody reads what it says', async () => {
    await fc.assert(fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 40 }), async (script) => assertOwnEnd(await play(script, false))), { numRuns: 30 });
  });

  const VIOLATIONS: readonly (readonly [string, Lane, Buffer])[] = [
    ['an unknown frame on the control lane', 'control', encodeLane(99, 1)],
    ['stdin on the control lane', 'control', encodeLane(LANE.stdin, 1)],
    ['a spawn on the data lane', 'data', encodeLane(LANE.spawn, 1)],
    ['a payload that is too long', 'control', Buffer.from('010004000100000001000000', 'hex')],
    ['a signal of the wrong size', 'control', encodeLane(LANE.signal, 1, Buffer.alloc(5))],
    ['a credit of the wrong size', 'control', encodeLane(LANE.credit, 1, Buffer.alloc(3))],
    ['a kill with a payload', 'control', encodeLane(LANE.kill, 1, u32(9))],
    ['a terminal without columns', 'control', encodeLane(LANE.resize, 1, u32(0x0001_0000))],
    ['a size of the wrong size', 'control', encodeLane(LANE.resize, 1, Buffer.alloc(8, 1))],
    ['a connection to port 0', 'control', encodeLane(LANE.dial, 1, Buffer.concat([u32(1), u32(0)]))],
    ['a connection to port 65536', 'control', encodeLane(LANE.dial, 1, Buffer.concat([u32(1), u32(65_536)]))],
    ['a connection for exec 0', 'control', encodeLane(LANE.dial, 0, encodeDial(1, 1))],
    ['a connection on the data lane', 'data', encodeLane(LANE.dial, 1, encodeDial(1, 1))],
    ['a spawn for exec 0', 'control', encodeLane(LANE.spawn, 0, encodeSpawn({ argv: ['true'], env: [], cwd: '/', stdin: false, windowBytes: 0, capBytes: 0 }))],
    ['a spawn that is not one', 'control', encodeLane(LANE.spawn, 1, Buffer.alloc(40))],
  ];
  for (const [what, to, bytes] of VIOLATIONS) {
    test(`ends with 71 after ${what}`, async () => {
      await using pid1 = start();
      pid1[to].write(bytes);
      assert.deepEqual(await pid1.ended, { code: 71, signal: null });
    });
  }

  const cat = encodeLane(LANE.spawn, 1, encodeSpawn({ argv: ['sleep', '2'], env: ['PATH=/usr/bin:/bin'], cwd: '/', stdin: true, windowBytes: 10, capBytes: 10 }));
  const AFTER_SPAWN: readonly (readonly [string, Lane, Buffer])[] = [
    ['a second spawn under the same id', 'control', cat],
    ['a connection under the id of a program', 'control', encodeLane(LANE.dial, 1, encodeDial(1, 1))],
    ['credit beyond 32 bits', 'control', encodeLane(LANE.credit, 1, u32(0xffff_ffff))],
    ['more stdin than was credited', 'data', Buffer.concat([1, 2, 3].map(() => encodeLane(LANE.stdin, 1, Buffer.alloc(65_536))))],
    ['stdin after its end', 'data', Buffer.concat([encodeLane(LANE.stdin, 1, Buffer.alloc(65_536)), encodeLane(LANE.stdin, 1, Buffer.alloc(1_000)), encodeLane(LANE.stdin, 1), encodeLane(LANE.stdin, 1)])],
  ];
  for (const [what, to, bytes] of AFTER_SPAWN) {
    test(`ends with 71 after ${what}`, async () => {
      await using pid1 = start();
      pid1.control.write(cat);
      await delay(100);
      pid1[to].write(bytes);
      assert.deepEqual(await pid1.ended, { code: 71, signal: null });
    });
  }
});

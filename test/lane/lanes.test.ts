import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeLane, LANE, LaneReader, Lanes, STDIN_WINDOW, u32, type Exec, type ExecReport, type LaneFrame, type OutputStream } from '@caisson/runtime';

const WINDOW = 512 * 1024;
const CAP = 1_000_000;

/** The launcher's end of two lanes whose other end is the test, in place of pid 1. */
class FakePid1 {
  readonly lanes: Lanes;
  readonly control: Duplex;
  readonly data: Duplex;
  readonly heard: LaneFrame[] = [];
  readonly output: Record<OutputStream, number> = { stdout: 0, stderr: 0 };

  constructor() {
    const [controlHere, control] = duplexPair();
    const [dataHere, data] = duplexPair();
    this.lanes = new Lanes(controlHere, dataHere);
    this.control = control;
    this.data = data;
    for (const lane of [control, data]) {
      const reader = new LaneReader();
      lane.on('data', (chunk: Buffer) => this.heard.push(...reader.push(chunk)));
      lane.on('error', () => undefined);
    }
  }

  spawn(outputBytes = CAP, onOutput?: () => Promise<void>): Exec {
    return this.lanes.spawn({ argv: ['x'], env: [], cwd: '/', stdin: true, outputBytes }, {
      onOutput: async (stream, bytes) => {
        this.output[stream] += bytes.length;
        await onOutput?.();
      },
    });
  }

  dial(onOutputEnd?: () => void): Exec {
    return this.lanes.dial(80, { onOutput: async (stream, bytes) => void (this.output[stream] += bytes.length), ...(onOutputEnd === undefined ? {} : { onOutputEnd }) });
  }

  say(lane: 'control' | 'data', type: number, exec: number, payload: Uint8Array = Buffer.alloc(0), stream = 0): void {
    const frame = encodeLane(type, exec, payload);
    frame.writeUInt8(stream, 5);
    this[lane].write(frame);
  }

  /** It counts its programs as it should, but where `started` says otherwise. */
  exit(exec: number, value = 0, written: readonly [number, number] = [0, 0], started = this.lanes.programs.asked): void {
    this.say('data', LANE.exit, exec, exitPayload(value, written, started));
  }
}

function exitPayload(value: number, written: readonly [number, number], started = 1): Buffer {
  const payload = Buffer.alloc(56);
  payload.writeUInt32LE(value, 4);
  payload.writeBigUInt64LE(BigInt(written[0]), 32);
  payload.writeBigUInt64LE(BigInt(written[1]), 40);
  payload.writeBigUInt64LE(BigInt(started), 48);
  return payload;
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Symbol('late');
  const first = await Promise.race([promise, delay(2_000, late, { ref: false })]);
  assert.notEqual(first, late, `${what} hangs`);
  return first as T;
}

test('an exec ends as pid 1 says, with all that was written', async () => {
  const pid1 = new FakePid1();
  const exec = pid1.spawn(4);
  pid1.say('control', LANE.started, 1, u32(7));
  pid1.say('data', LANE.output, 1, Buffer.from('abcd'), 1);
  pid1.say('data', LANE.output, 1, Buffer.from('xy'), 2);
  pid1.exit(1, 3, [9, 2]);
  assert.deepEqual(await within(exec.done, 'the exec'), { end: { kind: 'exited', code: 3 }, written: { stdout: 9, stderr: 2 } });
  assert.deepEqual(pid1.output, { stdout: 4, stderr: 2 });
  pid1.lanes.destroy();
  await within(pid1.lanes.gone, 'the end');
});

type Breach = (pid1: FakePid1) => void;
const output = (bytes: number, stream = 1, exec = 1): Breach => (pid1) => {
  for (let left = bytes; left > 0; left -= 200_000) pid1.say('data', LANE.output, exec, Buffer.alloc(Math.min(left, 200_000)), stream);
};
const BREACHES: readonly (readonly [string, Breach])[] = [
  ['output beyond its cap', (pid1) => { output(300_000)(pid1); pid1.say('data', LANE.output, 1, Buffer.alloc(CAP - 300_000 + 1).subarray(0, 200_000), 1); output(501_000)(pid1); }],
  ['output beyond its window', output(WINDOW + 1)],
  ['output of an exec that does not run', output(1, 1, 9)],
  ['output of stream 0', output(1, 0)],
  ['output of stream 3', output(1, 3)],
  ['empty output', (pid1) => pid1.say('data', LANE.output, 1, Buffer.alloc(0), 1)],
  ['an end of output of a program', (pid1) => pid1.say('data', LANE.outputEnd, 1)],
  ['a program that could not connect', (pid1) => pid1.say('control', LANE.failed, 1, Buffer.concat([u32(4), u32(111)]))],
  ['output of a connection after its end', (pid1) => { pid1.dial(); pid1.say('data', LANE.outputEnd, 3); output(1, 1, 3)(pid1); }],
  ['two ends of one connection\'s output', (pid1) => { pid1.dial(); pid1.say('data', LANE.outputEnd, 3); pid1.say('data', LANE.outputEnd, 3); }],
  ['a connection that could not be executed', (pid1) => { pid1.dial(); pid1.say('control', LANE.failed, 3, Buffer.concat([u32(3), u32(2)])); }],
  ['two exits of one exec', (pid1) => { pid1.exit(1); pid1.exit(1); }],
  ['an exit that counts less than was sent', (pid1) => { output(10)(pid1); pid1.exit(1, 0, [9, 0]); }],
  ['an exit that counts more than was sent although the cap is not reached', (pid1) => { output(10)(pid1); pid1.exit(1, 0, [11, 0]); }],
  ['an exit of the wrong size', (pid1) => pid1.say('data', LANE.exit, 1, Buffer.alloc(47))],
  ['an exit that counts more programs than were asked for', (pid1) => pid1.exit(1, 0, [0, 0], 3)],
  ['an exit that counts fewer programs than have ended', (pid1) => pid1.exit(1, 0, [0, 0], 0)],
  ['a start on the data lane', (pid1) => pid1.say('data', LANE.started, 1, u32(1))],
  ['an exit on the control lane', (pid1) => pid1.say('control', LANE.exit, 1, exitPayload(0, [0, 0]))],
  ['a start of an exec that nobody asked for', (pid1) => pid1.say('control', LANE.started, 9, u32(1))],
  ['a start of exec 0', (pid1) => pid1.say('control', LANE.started, 0, u32(1))],
  ['a failure of an exec that does not run', (pid1) => pid1.say('control', LANE.failed, 9, Buffer.concat([u32(1), u32(1)]))],
  ['more stdin credit than was used', (pid1) => pid1.say('control', LANE.stdinCredit, 1, u32(1))],
  ['stdin credit that wraps around', (pid1) => pid1.say('control', LANE.stdinCredit, 1, u32(0xffff_ffff))],
  ['a frame of the launcher\'s own', (pid1) => pid1.say('control', LANE.spawn, 1)],
  ['a hello that is not one', (pid1) => pid1.say('control', LANE.hello, 0, Buffer.from('kernel\0'))],
  ['bytes that are no frame', (pid1) => pid1.control.write(Buffer.alloc(12, 0xff))],
];
for (const [what, breach] of BREACHES) {
  test(`${what} closes the lanes and every exec is lost`, async () => {
    const pid1 = new FakePid1();
    const execs = [pid1.spawn(), pid1.spawn()];
    breach(pid1);
    await within(pid1.lanes.gone, 'the end');
    await assert.rejects(pid1.lanes.hello, { code: 'LAUNCH_FAILED', message: /pid 1 broke the protocol/ });
    const last = await within(execs[1]?.done as Promise<ExecReport>, 'the exec');
    assert.ok(last.end.kind === 'lost' && last.end.detail.startsWith('pid 1 broke the protocol'), JSON.stringify(last));
    await within(execs[0]?.done as Promise<ExecReport>, 'the exec');
    assert.ok(pid1.output.stdout <= CAP && pid1.output.stderr <= CAP);
    assert.equal((await within(pid1.spawn().done, 'an exec after the end')).end.kind, 'lost');
  });
}

test('an exec that is lost counts what has arrived', async () => {
  const pid1 = new FakePid1();
  const exec = pid1.spawn();
  output(123)(pid1);
  pid1.say('data', LANE.output, 1, Buffer.alloc(0), 1);
  assert.deepEqual((await within(exec.done, 'the exec')).written, { stdout: 123, stderr: 0 });
});

test('credit that comes after the exec has ended is passed over', async () => {
  const pid1 = new FakePid1();
  const first = pid1.spawn();
  pid1.exit(1);
  await within(first.done, 'the exec');
  pid1.say('control', LANE.stdinCredit, 1, u32(5));
  const second = pid1.spawn();
  pid1.exit(2, 4);
  assert.deepEqual((await within(second.done, 'the exec')).end, { kind: 'exited', code: 4 });
  pid1.lanes.destroy();
});

test('output is credited when it has been taken, not when it arrived', async () => {
  const pid1 = new FakePid1();
  const taken = Promise.withResolvers<void>();
  pid1.spawn(CAP, () => taken.promise);
  output(WINDOW)(pid1);
  await delay(20);
  const credits = (): number => pid1.heard.filter(({ type }) => type === LANE.credit).reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0);
  assert.equal(pid1.output.stdout, WINDOW);
  assert.equal(credits(), 0);
  taken.resolve();
  await delay(20);
  assert.ok(credits() > WINDOW / 2 && credits() <= WINDOW, 'small amounts wait for more');
  pid1.lanes.destroy();
});

test('stdin is sent as far as pid 1 has room, in order, and the writer waits', async () => {
  const pid1 = new FakePid1();
  const exec = pid1.spawn();
  const sent = (): Buffer => Buffer.concat(pid1.heard.filter(({ type }) => type === LANE.stdin).map(({ payload }) => payload));
  const bytes = Buffer.from(Array.from({ length: 3 * STDIN_WINDOW }, (_, index) => index % 251));
  const written = Promise.all([exec.writeStdin(bytes.subarray(0, 100_000)), exec.writeStdin(bytes.subarray(100_000)), exec.endStdin()]);
  await delay(20);
  assert.equal(sent().length, STDIN_WINDOW);
  for (let credited = 0; credited < 2 * STDIN_WINDOW; credited += 16_384) {
    pid1.say('control', LANE.stdinCredit, 1, u32(16_384));
    await delay(1);
  }
  await within(written, 'the writer');
  await delay(5);
  assert.deepEqual(sent(), bytes);
  assert.equal(pid1.heard.at(-1)?.payload.length, 0);
  pid1.lanes.destroy();
});

test('stdin ends once, and nothing is sent after its end', async () => {
  const pid1 = new FakePid1();
  const exec = pid1.spawn();
  await exec.endStdin();
  await exec.endStdin();
  await exec.writeStdin(Buffer.from('late'));
  await delay(5);
  assert.deepEqual(pid1.heard.filter(({ type }) => type === LANE.stdin).map(({ payload }) => payload.length), [0]);
  pid1.lanes.destroy();
});

test('a connection says when its peer has sent all, once and before it ends', async () => {
  const pid1 = new FakePid1();
  const said: string[] = [];
  const exec = pid1.dial(() => said.push('end'));
  pid1.say('data', LANE.output, 1, Buffer.from('abc'), 1);
  pid1.say('data', LANE.outputEnd, 1);
  pid1.exit(1, 0, [3, 0]);
  assert.deepEqual(await within(exec.done, 'the connection'), { end: { kind: 'exited', code: 0 }, written: { stdout: 3, stderr: 0 } });
  assert.deepEqual(said, ['end']);
  assert.deepEqual(pid1.heard.map(({ type, payload }) => [type, payload.readUInt32LE(4)]), [[LANE.dial, 80]]);
  pid1.lanes.destroy();
});

for (const port of [0, -1, 65_536, 1.5, NaN]) {
  test(`a connection to port ${port} is refused with EINVAL, and pid 1 hears nothing of it`, async () => {
    const pid1 = new FakePid1();
    const { end } = await within(pid1.lanes.dial(port, { onOutput: async () => undefined }).done, 'the connection');
    assert.deepEqual(end, { kind: 'not-started', stage: 'connect', errno: 22 });
    await delay(5);
    assert.deepEqual(pid1.heard, []);
    pid1.lanes.destroy();
  });
}

test('a kill is a word of its own, a size is sent to a terminal alone, and neither to an exec that is over', async () => {
  const pid1 = new FakePid1();
  const piped = pid1.spawn();
  const terminal = pid1.lanes.spawn({ argv: ['x'], env: [], cwd: '/', stdin: false, outputBytes: 1, tty: { cols: 80, rows: 24 } }, { onOutput: async () => undefined });
  piped.resize(10, 5);
  terminal.resize(10, 5);
  assert.throws(() => terminal.resize(0, 5), { code: 'REQUEST_INVALID' });
  piped.kill();
  pid1.exit(1);
  await within(piped.done, 'the exec');
  piped.kill();
  await delay(5);
  assert.deepEqual(pid1.heard.slice(2).map(({ type, exec }) => [type, exec]), [[LANE.resize, 2], [LANE.kill, 1]]);
  pid1.lanes.destroy();
});

test('a writer that waits for room is let go when the exec is over', async () => {
  const pid1 = new FakePid1();
  const exec = pid1.spawn();
  const written = exec.writeStdin(Buffer.alloc(STDIN_WINDOW + 1));
  pid1.exit(1);
  await within(exec.done, 'the exec');
  await within(written, 'the writer');
  pid1.lanes.destroy();
});

test('a command that does not fit into a frame is not started, with E2BIG', async () => {
  const pid1 = new FakePid1();
  const { done } = pid1.lanes.spawn({ argv: ['x', '漢'.repeat(100_000)], env: [], cwd: '/', stdin: false, outputBytes: 1 }, { onOutput: async () => undefined });
  assert.deepEqual(await within(done, 'the exec'), { end: { kind: 'not-started', stage: 'exec', errno: 7 }, written: { stdout: 0, stderr: 0 } });
  assert.deepEqual(pid1.heard, []);
  pid1.lanes.destroy();
});

for (const lane of ['control', 'data'] as const) {
  test(`the end of the ${lane} lane ends the other, and every exec is lost`, async () => {
    const pid1 = new FakePid1();
    const exec = pid1.spawn();
    pid1[lane].end();
    await within(pid1.lanes.gone, 'the end');
    assert.equal((await within(exec.done, 'the exec')).end.kind, 'lost');
  });
}

test('whatever pid 1 says, every exec ends, and no more than its cap is handed on', async () => {
  const frame = fc.record({
    lane: fc.constantFrom<'control' | 'data'>('control', 'data'),
    type: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...Object.values(LANE)) }, { weight: 1, arbitrary: fc.nat({ max: 255 }) }),
    exec: fc.nat({ max: 4 }),
    stream: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(1, 2) }, { weight: 1, arbitrary: fc.nat({ max: 255 }) }),
    payload: fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.nat({ max: 0xffff_ffff }).map(u32), fc.nat({ max: 255 }).map((value) => exitPayload(value, [0, 0]))),
  });
  await fc.assert(fc.asyncProperty(fc.array(frame, { maxLength: 30 }), fc.nat({ max: 100 }), async (frames, cap) => {
    const pid1 = new FakePid1();
    const execs = [pid1.spawn(cap), pid1.spawn(cap), pid1.spawn(cap)];
    for (const { lane, type, exec, payload, stream } of frames) pid1.say(lane, type, exec, payload, stream);
    await delay(1);
    pid1.lanes.destroy();
    await within(pid1.lanes.gone, 'the end');
    for (const { done } of execs) await within(done, 'an exec');
    assert.ok(pid1.output.stdout <= 3 * cap && pid1.output.stderr <= 3 * cap);
  }), { numRuns: 300 });
});

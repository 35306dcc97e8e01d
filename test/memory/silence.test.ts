import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { encodeLane, encodeSpawn, LANE, Lanes, u32, type ExecEvents } from '@caisson/runtime';
import { buildDir, compile, Conversation, INIT_SOURCES, SANITIZERS, withLanes } from '../lane/given.ts';
import { Output } from './given.ts';

const command = (argv: readonly string[], stdin = false): Parameters<Lanes['spawn']>[0] => ({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/tmp', stdin, outputBytes: 2 ** 24 });
const NOTHING: ExecEvents = { onOutput: async () => undefined };

suite('the silence in which memory is saved, with the real pid 1', () => {
  const build = buildDir();
  let binary = '';
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, SANITIZERS);
  });
  after(() => build[Symbol.dispose]());

  test('nothing comes while it lasts, what is sent meanwhile waits, and then all of both is there', async () => {
    await using session = withLanes(binary);
    const { lanes } = session;
    const writer = new Output('writer');
    const { done } = lanes.spawn(command(['sh', '-c', 'for i in $(seq 400); do echo $i; sleep 0.005; done']), writer);
    await writer.reach(10);
    const state = await lanes.quiesce();
    const seen = writer.stdout;
    const late = new Output('late');
    const cat = lanes.spawn(command(['cat'], true), late);
    await cat.writeStdin(Buffer.from('late\n'));
    await cat.endStdin();
    await delay(300);
    assert.equal(writer.stdout, seen);
    assert.equal(late.stdout, '');
    assert.deepEqual(state.execs.map(({ id, received }) => ({ id, received })), [{ id: 1, received: { stdout: seen.length, stderr: 0 } }]);
    lanes.resume(false);
    assert.deepEqual((await cat.done).end, { kind: 'exited', code: 0 });
    assert.equal(late.stdout, 'late\n');
    assert.deepEqual((await done).end, { kind: 'exited', code: 0 });
    assert.deepEqual(writer.lines, Array.from({ length: 400 }, (_, index) => `${index + 1}`));
  });

  test('fifty silences in a flood of output and stdin lose nothing and double nothing', async () => {
    await using session = withLanes(binary);
    const { lanes } = session;
    const [flood, echo] = [new Output('flood'), new Output('echo')];
    const wrote = lanes.spawn(command(['seq', '200000']), flood);
    const cat = lanes.spawn(command(['cat'], true), echo);
    const text = Array.from({ length: 20_000 }, (_, index) => `${index}\n`).join('');
    const writing = cat.writeStdin(Buffer.from(text)).then(() => cat.endStdin());
    for (let round = 0; round < 50; round++) {
      await lanes.quiesce();
      lanes.resume(false);
      await delay(2);
    }
    await Promise.all([writing, wrote.done, cat.done]);
    assert.equal(echo.stdout, text);
    assert.equal(flood.stdout, Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(''));
  });

  test('what pid 1 had not heard of when it fell silent is not counted as said', async () => {
    await using session = withLanes(binary);
    const { lanes } = session;
    const cat = lanes.spawn(command(['cat'], true), NOTHING);
    const read = Promise.withResolvers<void>();
    const received = { bytes: 0 };
    const flood = lanes.spawn(command(['sh', '-c', 'head -c 300000 /dev/zero; sleep 60']), {
      onOutput: (_stream, bytes) => {
        received.bytes += bytes.length;
        return read.promise;
      },
    });
    while (received.bytes < 300_000) await delay(5);
    const quiet = lanes.quiesce();
    read.resolve(); // the reader takes all of it now, and the credit for that waits
    const late = lanes.spawn(command(['true']), NOTHING);
    await cat.writeStdin(Buffer.from('late'));
    await cat.endStdin();
    const { execs, nextExec } = await quiet;
    assert.deepEqual(execs.map(({ id, window, stdinRoom, stdinEnded }) => ({ id, window, stdinRoom, stdinEnded })), [
      { id: 1, window: 524_288, stdinRoom: 65_536, stdinEnded: false },
      { id: 2, window: 524_288 - 300_000, stdinRoom: 65_536, stdinEnded: false },
    ]);
    assert.equal(nextExec, 4);
    lanes.resume(false);
    await Promise.all([late.done, cat.done]);
    flood.kill();
    await flood.done;
  });

  test('a resume that comes before pid 1 is quiet is kept until it is', async () => {
    await using session = withLanes(binary);
    const { lanes } = session;
    await lanes.hello;
    const quiet = lanes.quiesce();
    lanes.resume(false);
    await quiet;
    assert.deepEqual((await lanes.spawn(command(['true']), NOTHING).done).end, { kind: 'exited', code: 0 });
    await lanes.quiesce();
    await assert.rejects(lanes.quiesce(), { code: 'CHECKPOINT_FAILED' });
  });

  test('CHECKPOINT_FAILED for whoever waits for the silence of a pid 1 that ends', async () => {
    await using session = withLanes(binary);
    const { lanes, pid1 } = session;
    await lanes.hello;
    pid1.process.kill('SIGSTOP');
    const quiet = assert.rejects(lanes.quiesce(), { code: 'CHECKPOINT_FAILED' });
    pid1.process.kill('SIGKILL');
    await quiet;
    await assert.rejects(lanes.quiesce(), { code: 'CHECKPOINT_FAILED' });
  });

  test('pid 1 says hello again when it is told that it comes out of saved memory, and not otherwise', async () => {
    for (const restored of [false, true]) {
      await using conversation = new Conversation(binary);
      const { control, data } = conversation.pid1;
      await conversation.frame(LANE.hello, 0);
      for (const lane of [control, data]) lane.write(encodeLane(LANE.quiesce, 0));
      await conversation.frame(LANE.quiet, 0);
      control.write(encodeLane(LANE.resume, 0, u32(restored ? 1 : 0)));
      conversation.spawn(1, ['true']);
      await conversation.frame(LANE.exit, 1);
      assert.equal(conversation.frames.filter(({ type }) => type === LANE.hello).length, restored ? 2 : 1);
      assert.equal(conversation.frames.filter(({ type }) => type === LANE.quiet).length, 2);
    }
  });

  test('what a command is told on the one lane comes after the command itself on the other, whichever of them pid 1 looks at first', async () => {
    await using conversation = new Conversation(binary);
    const { control, data, process } = conversation.pid1;
    await conversation.frame(LANE.hello, 0);
    control.write(encodeLane(LANE.quiesce, 0));
    await delay(100); // pid 1 has read it, and so looks at the data lane first when it goes on
    data.write(encodeLane(LANE.quiesce, 0));
    await conversation.frame(LANE.quiet, 0);
    process.kill('SIGSTOP');
    control.write(encodeLane(LANE.resume, 0, u32(0)));
    conversation.spawn(1, ['cat'], { stdin: true });
    conversation.tell(LANE.stdin, 1, Buffer.from('early\n'));
    conversation.tell(LANE.stdin, 1);
    await delay(100); // all of it has been written
    process.kill('SIGCONT');
    await conversation.frame(LANE.exit, 1);
    assert.equal(conversation.output(1, 1).toString(), 'early\n');
  });

  const spawn = encodeLane(LANE.spawn, 1, encodeSpawn({ argv: ['true'], env: [], cwd: '/', stdin: false, windowBytes: 1, capBytes: 1 }));
  const quiesce = encodeLane(LANE.quiesce, 0);
  const WRONG: readonly (readonly [what: string, control: readonly Buffer[], data: readonly Buffer[]])[] = [
    ['a resume that nothing preceded', [encodeLane(LANE.resume, 0, u32(0))], []],
    ['a command in the place of the resume', [quiesce, spawn], [quiesce]],
    ['a resume of the wrong size', [quiesce, encodeLane(LANE.resume, 0, Buffer.alloc(5))], [quiesce]],
    ['a second last frame on one lane', [quiesce, quiesce], []],
    ['a last frame with content', [encodeLane(LANE.quiesce, 0, u32(0))], []],
  ];
  for (const [what, control, data] of WRONG) {
    test(`pid 1 ends itself at ${what}`, async () => {
      await using conversation = new Conversation(binary);
      await conversation.frame(LANE.hello, 0);
      for (const frame of data) conversation.pid1.data.write(frame);
      for (const frame of control) {
        await delay(50);
        conversation.pid1.control.write(frame);
      }
      assert.deepEqual(await conversation.pid1.ended, { code: 71, signal: null });
    });
  }

  test('pid 1 ends when a lane ends in the silence', async () => {
    await using conversation = new Conversation(binary);
    await conversation.frame(LANE.hello, 0);
    for (const lane of [conversation.pid1.control, conversation.pid1.data]) lane.write(quiesce);
    await conversation.frame(LANE.quiet, 0);
    conversation.pid1.control.destroy();
    assert.deepEqual(await conversation.pid1.ended, { code: 0, signal: null });
  });
});

suite('a pid 1 that does not keep the silence', () => {
  /** The launcher's end of lanes whose other end the test holds. */
  function held(nextExec?: number): { readonly lanes: Lanes; readonly control: Duplex; readonly data: Duplex } {
    const [[control, near], [data, nearData]] = [duplexPair(), duplexPair()];
    return { lanes: new Lanes(near, nearData, nextExec === undefined ? undefined : { nextExec }), control, data };
  }
  const quiet = encodeLane(LANE.quiet, 0);
  const BREACHES: readonly (readonly [what: string, asked: boolean, say: (lanes: { readonly control: Duplex; readonly data: Duplex }) => void])[] = [
    ['says it is quiet and was not asked', false, ({ control }) => control.write(quiet)],
    ['says it twice on one lane', true, ({ control }) => control.write(Buffer.concat([quiet, quiet]))],
    ['speaks on a lane that it has ended', true, ({ control }) => control.write(Buffer.concat([quiet, encodeLane(LANE.started, 1)]))],
    ['writes output on a lane that it has ended', true, ({ data }) => data.write(Buffer.concat([quiet, encodeLane(LANE.output, 1, Buffer.from('x'))]))],
  ];
  for (const [what, asked, say] of BREACHES) {
    test(`loses its lanes when it ${what}`, async () => {
      const { lanes, ...far } = held();
      const asking = asked ? assert.rejects(lanes.quiesce(), { code: 'CHECKPOINT_FAILED' }) : undefined;
      say(far);
      await lanes.gone;
      await asking;
    });
  }

  test('out of saved memory it may say nothing before it is told to go on', async () => {
    const early = held(5);
    early.control.write(encodeLane(LANE.started, 1));
    await early.lanes.gone;
    const { lanes, control } = held(5);
    lanes.resume(true);
    control.write(encodeLane(LANE.started, 4));
    const ended = await Promise.race([lanes.gone.then(() => true), delay(100, false)]);
    assert.equal(ended, false, 'an exec of before is known');
    control.write(encodeLane(LANE.started, 5));
    await lanes.gone;
  });
});

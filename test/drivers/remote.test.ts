import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import type { IsolationSpec } from '@caisson/contract';
import { FakeDriver, remoteFacts, remoteLaunch, serveLauncher, type Machine } from '@caisson/runtime';
import { Channel, connectChannel, encodeFrame, listenUnix, type Listening } from '@caisson/wire';
import { specFor } from './given.ts';
import { goodHost, playCommands } from './scripted.ts';
import { COMMANDS, driverSuite, runIn } from './suite.ts';

interface Launcher extends AsyncDisposable {
  readonly path: string;
  readonly driver: FakeDriver;
  readonly listening: Listening;
}

/** A launcher whose sandboxes are scripted, on a socket of its own. */
async function openLauncher(): Promise<Launcher> {
  const dir = mkdtempSync(join(tmpdir(), 'caisson-remote-'));
  const path = join(dir, 'launcher.sock');
  const driver = new FakeDriver(playCommands);
  const listening = await listenUnix(path, {}, (socket) => void serveLauncher(socket, { facts: async () => goodHost, expect: () => undefined, driver: (name) => (name === 'fake' ? driver : undefined) }));
  return {
    path, driver, listening,
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

driverSuite('remote', async () => {
  const launcher = await openLauncher();
  /** It lives behind a socket: what it has ended it knows a little later. */
  const settled = async (): Promise<void> => {
    for (const untilMs = performance.now() + 10_000; launcher.driver.live.size > 0 && performance.now() < untilMs; ) await delay(5);
  };
  return {
    driver: { launch: (spec, options) => remoteLaunch(launcher.path, spec, options), settled },
    spec: (limits) => specFor(goodHost, limits),
    left: () => [...launcher.driver.live],
    [Symbol.asyncDispose]: () => launcher[Symbol.asyncDispose](),
  };
});

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 5) {
    assert.ok(waitedMs < 2_000, what);
    await delay(5);
  }
}

suite('what control may do to the launcher', () => {
  test('the facts of the host are those that the launcher measured', async () => {
    await using launcher = await openLauncher();
    assert.deepEqual(await remoteFacts(launcher.path, true), goodHost);
  });

  const BELOW: readonly (readonly [string, (spec: IsolationSpec) => IsolationSpec])[] = [
    ['without no_new_privs', (spec) => ({ ...spec, noNewPrivileges: false })],
    ['with a capability', (spec) => ({ ...spec, capabilities: ['CAP_SYS_ADMIN'] })],
    ['with a writable root', (spec) => ({ ...spec, readOnlyRoot: false })],
    ['without a namespace', (spec) => ({ ...spec, namespaces: spec.namespaces.filter((name) => name !== 'network') })],
  ];
  for (const [what, weaken] of BELOW) {
    test(`a spec ${what} is FLOOR_VIOLATED and nothing starts`, async () => {
      await using launcher = await openLauncher();
      await assert.rejects(remoteLaunch(launcher.path, weaken(specFor(goodHost)), never()), { code: 'FLOOR_VIOLATED' });
      assert.equal(launcher.driver.live.size, 0);
    });
  }

  test('a spec with an unknown field ends the connection', async () => {
    await using launcher = await openLauncher();
    const spec = { ...specFor(goodHost), hostPath: '/root' };
    await assert.rejects(remoteLaunch(launcher.path, spec, never()), { code: 'SANDBOX_LOST' });
    assert.equal(launcher.driver.live.size, 0);
  });

  const OUT_OF_PLACE: readonly (readonly [string, (spec: IsolationSpec) => readonly unknown[]])[] = [
    ['a spawn before a launch', () => [{ type: 'spawn', exec: 1, process: { argv: ['x'], env: [], cwd: '/', stdin: false, outputBytes: 1 } }]],
    ['a close before a launch', () => [{ type: 'close' }]],
    ['a second launch', (spec) => [{ type: 'launch', spec }, { type: 'launch', spec: { ...spec, id: 'sbx-0000000000000000' } }]],
  ];
  for (const [what, messages] of OUT_OF_PLACE) {
    test(`${what} on a connection is FRAME_INVALID`, async () => {
      await using launcher = await openLauncher();
      const replies: unknown[] = [];
      using channel = await connectChannel(launcher.path, { onMessage: (message) => replies.push(message) });
      for (const message of messages(specFor(goodHost))) channel.send(message);
      const problem = (): { problem?: { code: string } } | undefined => replies.find((reply) => (reply as { type: string }).type === 'problem') as never;
      await until(() => problem() !== undefined, 'no problem was reported');
      assert.equal(problem()?.problem?.code, 'FRAME_INVALID');
    });
  }

  test('stdin of any size passes, in frames that the launcher takes', async () => {
    await using launcher = await openLauncher();
    const machine = await remoteLaunch(launcher.path, specFor(goodHost), never());
    const bytes = 5 * 1024 * 1024;
    const ran = await runIn(machine, COMMANDS.echo, { stdin: true }, async (exec) => {
      await exec.writeStdin(Buffer.alloc(bytes, 1));
      await exec.endStdin();
    });
    assert.deepEqual([ran.end, ran.stdout.length], [{ kind: 'exited', code: 0 }, bytes]);
    await machine.close();
  });

  test('a sandbox lives no longer than the connection that it was asked for on', async () => {
    await using launcher = await openLauncher();
    const machine = await remoteLaunch(launcher.path, specFor(goodHost), never());
    const ran = runIn(machine, COMMANDS.hang);
    assert.equal(launcher.driver.live.size, 1);
    for (const socket of launcher.listening.connections) socket.destroy();
    assert.equal((await ran).end.kind, 'lost');
    await until(() => launcher.driver.live.size === 0, 'the sandbox outlives its connection');
    await assert.rejects(machine.close(), { code: 'SANDBOX_LOST' });
  });

  test('whatever is said to it, it neither falls nor keeps a sandbox', async () => {
    await using launcher = await openLauncher();
    const spec = specFor(goodHost);
    const id = fc.nat({ max: 3 });
    const message = fc.oneof(
      fc.constant({ type: 'launch', spec }),
      fc.constantFrom(COMMANDS.hang, COMMANDS.echo, COMMANDS.exit(1)).map((argv) => ({ type: 'spawn', exec: 1, process: { argv, env: [], cwd: '/', stdin: true, outputBytes: 10 } })),
      fc.record({ type: fc.constant('signal'), exec: id, signal: fc.integer({ min: 1, max: 64 }) }),
      fc.record({ type: fc.constant('taken'), exec: id, bytes: fc.nat() }),
      fc.constantFrom({ type: 'close' }, { type: 'facts', again: true }),
      fc.jsonValue(),
    );
    const said = fc.oneof(
      { weight: 6, arbitrary: message.map((value) => encodeFrame('message', 0, Buffer.from(JSON.stringify(value)))) },
      { weight: 2, arbitrary: fc.tuple(fc.constantFrom('stdin', 'stdout', 'stderr'), id, fc.uint8Array({ maxLength: 20 })).map(([kind, exec, bytes]) => encodeFrame(kind as 'stdin', exec, bytes)) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)) },
    );
    await fc.assert(fc.asyncProperty(fc.array(said, { maxLength: 12 }), async (parts) => {
      const closed = Promise.withResolvers<void>();
      const socket = connect(launcher.path).on('close', () => closed.resolve()).on('error', () => undefined).resume();
      for (const part of parts) socket.write(part);
      await delay(2);
      socket.destroy();
      await closed.promise;
      await until(() => launcher.driver.live.size === 0, 'a sandbox is kept');
    }), { numRuns: 150 });
    assert.deepEqual(await remoteFacts(launcher.path, false), goodHost);
  });
});

/** A launcher that launches and then says what the test wants. */
async function openLiar(t: TestContext, onSpawn: (channel: Channel) => void): Promise<Machine> {
  await using good = await openLauncher();
  const { user, hello } = await remoteLaunch(good.path, specFor(goodHost), never());
  const dir = mkdtempSync(join(tmpdir(), 'caisson-liar-'));
  const path = join(dir, 'launcher.sock');
  const listening = await listenUnix(path, {}, (socket) => {
    const channel: Channel = new Channel(socket, {
      onMessage(message) {
        const { type } = message as { type: string };
        if (type === 'launch') channel.send({ type: 'launched', runtime: 'fake', user, address: null, hello });
        if (type === 'spawn') onSpawn(channel);
      },
    });
  });
  t.after(async () => {
    await listening[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  return await remoteLaunch(path, specFor(goodHost), never());
}

suite('what a launcher may say to control', () => {
  const LIES: readonly (readonly [string, (channel: Channel) => void])[] = [
    ['a report with an exit status of 256', (channel) => channel.send({ type: 'report', exec: 1, report: { end: { kind: 'exited', code: 256 }, written: { stdout: 0, stderr: 0 } } })],
    ['a report of an unknown end', (channel) => channel.send({ type: 'report', exec: 1, report: { end: { kind: 'fine' }, written: { stdout: 0, stderr: 0 } } })],
    ['a report that counts below nothing', (channel) => channel.send({ type: 'report', exec: 1, report: { end: { kind: 'exited', code: 0 }, written: { stdout: -1, stderr: 0 } } })],
    ['facts that nobody asked for', (channel) => channel.send({ type: 'facts', facts: {} })],
    ['stdin', (channel) => void channel.sendBytes('stdin', 1, Buffer.from('x'))],
    ['an unknown message', (channel) => channel.send({ type: 'trust-me' })],
    ['a problem', (channel) => channel.send({ type: 'problem', problem: { code: 'INTERNAL', message: 'broken', hint: '' } })],
    ['nothing more, for it went away', (channel) => channel[Symbol.dispose]()],
  ];
  for (const [what, lie] of LIES) {
    test(`after ${what} the exec is lost and closing says so`, async (t) => {
      const machine = await openLiar(t, lie);
      const ran = await Promise.race([runIn(machine, COMMANDS.hang), delay(2_000, null, { ref: false })]);
      assert.equal(ran?.end.kind, 'lost', 'the exec hangs');
      await assert.rejects(machine.close());
    });
  }

  test('output of an exec that does not run is not handed on', async (t) => {
    const machine = await openLiar(t, (channel) => {
      void channel.sendBytes('stdout', 9, Buffer.from('other'));
      void channel.sendBytes('stdout', 1, Buffer.from('mine'));
      channel.send({ type: 'report', exec: 1, report: { end: { kind: 'exited', code: 0 }, written: { stdout: 4, stderr: 0 } } });
    });
    assert.equal((await runIn(machine, COMMANDS.hang)).stdout.toString(), 'mine');
  });
});

import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chownSync, constants, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeExit, encodeLane, encodeSpawn, LANE, LaneReader, u32, type LaneFrame } from '@caisson/runtime';
import { buildDir, compile, INIT_SOURCES, SANITIZERS } from './given.ts';

const NOBODY = 65_534;
const MIB = 1024 * 1024;
const SH = (script: string): string[] => ['sh', '-c', script];

/** Pid 1 whose stdio are three pipes, as those of a container are, and nothing else. */
class Piped implements AsyncDisposable {
  readonly stdin: Socket;
  readonly control: LaneFrame[] = [];
  readonly data: LaneFrame[] = [];
  readonly ended: Promise<number | string | null>;
  readonly #process: ChildProcess;
  readonly #out: readonly Socket[];

  constructor(binary: string, folder: string, name: string, args: readonly string[]) {
    const [input, output, errors] = ['in', 'out', 'err'].map((end) => `${folder}/${name}.${end}`) as [string, string, string];
    execFileSync('mkfifo', [input, output, errors]);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) for (const path of [input, output, errors]) chownSync(path, NOBODY, NOBODY);
    this.stdin = new Socket({ fd: openSync(input, constants.O_RDWR | constants.O_NONBLOCK), readable: false, writable: true });
    this.#out = [output, errors].map((path) => new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false }));
    const drop = isRoot ? ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'] : [];
    this.#process = spawn('setpriv', [...drop, '--no-new-privs', '--', 'sh', '-c', 'in=$1 out=$2 err=$3; shift 3; exec "$0" "$@" <"$in" >"$out" 2>"$err"', binary, input, output, errors, ...args], { stdio: 'ignore', cwd: '/' });
    this.ended = new Promise((done) => this.#process.once('exit', (code, signal) => done(signal ?? code)));
    for (const [index, frames] of [this.data, this.control].entries()) {
      const reader = new LaneReader();
      this.#out[index]?.on('data', (chunk: Buffer) => frames.push(...reader.push(chunk))).on('error', () => undefined);
    }
    this.stdin.on('error', () => undefined);
  }

  tell(type: number, exec: number, payload?: Buffer): void {
    this.stdin.write(encodeLane(type, exec, payload));
  }

  spawn(exec: number, argv: readonly string[], stdin = false): void {
    this.tell(LANE.spawn, exec, encodeSpawn({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/tmp', stdin, windowBytes: MIB, capBytes: MIB }));
  }

  async frame(from: readonly LaneFrame[], type: number, exec: number): Promise<LaneFrame> {
    for (const until = Date.now() + 5_000; Date.now() < until; await delay(5)) {
      const found = from.find((each) => each.type === type && each.exec === exec);
      if (found !== undefined) return found;
    }
    throw new Error(`no frame ${type} of exec ${exec}`);
  }

  /** It has opened its pipes and is the program. */
  async runs(): Promise<void> {
    for (const until = Date.now() + 5_000; readFileSync(`/proc/${this.#process.pid}/comm`, 'utf8') !== 'init\n'; await delay(5)) assert.ok(Date.now() < until, 'it does not run');
  }

  output(exec: number): string {
    return Buffer.concat(this.data.filter((each) => each.type === LANE.output && each.exec === exec).map(({ payload }) => payload)).toString();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
    for (const end of [this.stdin, ...this.#out]) end.destroy();
  }
}

suite('the init program behind three pipes', () => {
  const build = buildDir();
  let binary = '';
  let count = 0;
  const open = (...args: readonly string[]): Piped => new Piped(binary, build.path, `pid1-${count++}`, args);
  before(async () => {
    binary = await compile(`${build.path}/init`, INIT_SOURCES, SANITIZERS);
  });
  after(() => build[Symbol.dispose]());

  test('hears both lanes on stdin, answers with control on stderr and with data on stdout', async () => {
    await using pid1 = open();
    await pid1.frame(pid1.control, LANE.hello, 0);
    pid1.spawn(1, ['cat'], true);
    pid1.tell(LANE.stdin, 1, Buffer.from('through and back'));
    pid1.tell(LANE.stdin, 1);
    assert.deepEqual(decodeExit((await pid1.frame(pid1.data, LANE.exit, 1)).payload), { signaled: false, value: 0, written: [16, 0], started: 1 });
    assert.equal(pid1.output(1), 'through and back');
    assert.deepEqual(pid1.data.filter(({ type }) => type < LANE.output), []);
    assert.deepEqual(pid1.control.filter(({ type }) => type >= LANE.output), []);
  });

  test('leaves none of the pipes to a command', async () => {
    await using pid1 = open();
    pid1.spawn(1, SH('readlink /proc/$$/fd/* | sort -u | tr "\\n" " "; ls /proc/$$/fd'));
    await pid1.frame(pid1.data, LANE.exit, 1);
    assert.doesNotMatch(pid1.output(1), /pid1-/);
  });

  test('kills a command that writes more than is taken', async () => {
    await using pid1 = open();
    pid1.spawn(1, ['cat', '/dev/zero']);
    await pid1.frame(pid1.data, LANE.output, 1);
    pid1.tell(LANE.kill, 1);
    assert.deepEqual(decodeExit((await pid1.frame(pid1.data, LANE.exit, 1)).payload).signaled, true);
  });

  test('ends when the stream does, and with it all that it started', async () => {
    await using pid1 = open();
    await pid1.frame(pid1.control, LANE.hello, 0);
    pid1.stdin.destroy();
    assert.equal(await pid1.ended, 0);
  });

  test('that is told to wait says nothing before it is told to go on, and then all that it says otherwise', async () => {
    await using pid1 = open('--wait');
    await using other = open();
    await other.frame(other.control, LANE.hello, 0);
    await delay(300); // the other, which was started later, has spoken
    assert.deepEqual(pid1.control, []);
    pid1.tell(LANE.resume, 0, u32(1));
    await pid1.frame(pid1.control, LANE.hello, 0);
    pid1.spawn(1, SH('echo heard'));
    await pid1.frame(pid1.data, LANE.exit, 1);
    assert.equal(pid1.output(1), 'heard\n');
    pid1.tell(LANE.resume, 0, u32(1));
    assert.equal(await pid1.ended, 71, 'it is told once');
  });

  test('that waits runs nothing and ends at whatever else it is told, and with the stream', async () => {
    await using told = open('--wait');
    told.spawn(1, SH('echo too soon'));
    assert.equal(await told.ended, 71);
    assert.deepEqual([told.control, told.data], [[], []]);
    await using left = open('--wait');
    await left.runs();
    left.stdin.destroy();
    assert.equal(await left.ended, 0);
  });

  const HOSTILE: readonly (readonly [what: string, bytes: Buffer])[] = [
    ['a wish to be saved', encodeLane(LANE.quiesce, 0)],
    ['a frame that only pid 1 sends', encodeLane(LANE.output, 1, Buffer.from('x'))],
    ['a frame of no known type', encodeLane(99, 1)],
    ['a length beyond every frame', Buffer.from('ffffffff0100000001000000', 'hex')],
    ['a spawn of nothing', encodeLane(LANE.spawn, 1)],
  ];
  for (const [what, bytes] of HOSTILE) {
    test(`ends itself at ${what}`, async () => {
      await using pid1 = open();
      await pid1.frame(pid1.control, LANE.hello, 0);
      pid1.stdin.write(bytes);
      assert.equal(await pid1.ended, 71);
    });
  }
});

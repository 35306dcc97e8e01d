import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test, type TestContext } from 'node:test';
import { runCommand } from '@caisson/cli';
import type { Level } from '@caisson/contract';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
let caisson: Caisson | undefined;

before(async () => {
  if (IS_ROOT) caisson = await startCaisson();
});
after(async () => caisson?.[Symbol.asyncDispose]());

/** Says how many it got, and keeps them until its input ends. */
const keeping = (taking: string): string => `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
taken = 0
${taking}
print(taken, flush=True)
sys.stdin.read()
`;

/** Two processes take in turn: what is counted is the sandbox and not the process. */
const INSTANCES = keeping(`
told, tell = os.pipe()
for _ in range(2):
  if os.fork() == 0:
    got = 0
    while got < 200 and libc.inotify_init1(0) >= 0: got += 1
    os.write(tell, bytes([got]))
    os.close(0)
    os.read(told, 0)
    import signal; signal.pause()
  taken += os.read(told, 1)[0]
`);

const TIMERS = keeping(`
signal = (ctypes.c_char * 64)()
ctypes.memmove(ctypes.addressof(signal) + 12, (1).to_bytes(4, 'little'), 4)
timer = ctypes.c_void_p()
while taken < 5000 and libc.timer_create(1, signal, ctypes.byref(timer)) == 0: taken += 1
`);

interface Keeper {
  readonly taken: number;
  end(): Promise<void>;
}

/** A sandbox that has taken what it can get, and has it until it is told to end. */
async function keep(program: string, level: Level = 'container'): Promise<Keeper> {
  assert.ok(caisson);
  const over = Promise.withResolvers<void>();
  const said = Promise.withResolvers<number>();
  const words: string[] = [];
  const result = runCommand(caisson.paths, { argv: ['python3', '-c', program], level, stdin: true }, {
    signal: AbortSignal.timeout(60_000),
    stdin: (async function* () {
      await over.promise;
      yield Buffer.alloc(0);
    })(),
    async write(_stream, bytes) {
      words.push(bytes.toString());
      if (/^\d+\n/.test(words.join(''))) said.resolve(Number(words.join('').trim()));
    },
  });
  const ended = result.then(({ exit }) => said.reject(new Error(`it ended with ${exit}: ${words.join('')}`)), said.reject);
  const taken = await said.promise;
  return {
    taken,
    async end() {
      over.resolve();
      await ended;
    },
  };
}

function hostCanWatch(): boolean {
  const { status } = spawnSync('python3', ['-c', 'import ctypes, sys\nsys.exit(ctypes.CDLL(None).inotify_init1(0) < 0)']);
  return status === 0;
}

async function neighbours(t: TestContext, program: string, level: Level): Promise<readonly [number, number]> {
  const first = await keep(program, level);
  t.after(() => first.end());
  const second = await keep(program, level);
  t.after(() => second.end());
  return [first.taken, second.taken];
}

test('a sandbox that takes all the inotify instances it can leaves its neighbours theirs, and the host its own', { skip }, async (t) => {
  const [first, second] = await neighbours(t, INSTANCES, 'container');
  assert.ok(first >= 16, `${first}`);
  assert.equal(second, first);
  assert.ok(hostCanWatch());
});

test('inotify instances of a sandbox with a kernel of its own are none of the host', { skip }, async (t) => {
  assert.ok(caisson);
  if (!(await caisson.levels()).includes('gvisor')) return t.skip('this host has no gVisor');
  const taken = await neighbours(t, INSTANCES, 'gvisor');
  assert.ok(Math.min(...taken) > 128, taken.join());
  assert.ok(hostCanWatch());
});

test('a sandbox cannot raise how much it may take of what the kernel counts by user', { skip }, async () => {
  assert.ok(caisson);
  for (const name of ['max_inotify_instances', 'max_inotify_watches']) {
    const { result, stderr } = await caisson.run({ argv: ['sh', '-c', `echo 100000 > /proc/sys/user/${name}`] });
    assert.notEqual(result.exit, 0, stderr.toString());
  }
});

test('a sandbox that takes all the timers and queued signals it can has 256, and its neighbour as many', { skip }, async (t) => {
  assert.deepEqual(await neighbours(t, TIMERS, 'container'), [256, 256]);
});

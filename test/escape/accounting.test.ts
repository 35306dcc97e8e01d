import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB } from '@caisson/contract';
import { belowFloor } from '@caisson/isolation';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { specFor } from '../isolation/given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
let caisson: Caisson | undefined;

before(async () => {
  if (IS_ROOT) caisson = await startCaisson();
});
after(async () => caisson?.[Symbol.asyncDispose]());

const FILL = {
  TCP: `
server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen(100)
while queued < 128 << 20:
  a = socket.socket(); a.connect(server.getsockname()); b, _ = server.accept(); a.setblocking(False); keep += [a, b]
  try:
    while True: queued += a.send(bytes(1 << 20))
  except BlockingIOError: pass
`,
  UDP: `
while queued < 128 << 20:
  b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(('127.0.0.1', 0)); keep.append(b)
  a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.connect(b.getsockname())
  for i in range(6): a.send(bytes(50000))
  queued += struct.unpack('I', b.getsockopt(socket.SOL_SOCKET, 55, 36)[:4])[0] # SO_MEMINFO: what it really holds
`,
};

for (const [kind, fill] of Object.entries(FILL)) {
  test(`bytes queued in ${kind} sockets count against the memory limit`, { skip }, async () => {
    assert.ok(caisson);
    const text = `import socket, struct\nkeep, queued = [], 0\n${fill}\nprint('queued')`;
    const { result, stdout } = await caisson.run({ argv: ['python3', '-c', text], limits: { memoryBytes: 48 * MIB } });
    assert.equal(stdout.toString(), '', '128 MiB were queued under a limit of 48 MiB');
    assert.notEqual(result.exit, 0);
  });
}

test('a sandbox has no terminals, which are few on the host and whose work no limit counts', { skip }, async () => {
  assert.ok(caisson);
  const { result, stderr } = await caisson.run({ argv: ['python3', '-c', 'import os; os.openpty()'] });
  assert.equal(result.exit, 1);
  assert.match(stderr.toString(), /out of pty devices|No such file/);
});

test('a core limit of 0, at which a crash starts the core_pattern program of the host, is below the floor', () => {
  const good = specFor();
  const rlimits = good.rlimits.map((rlimit) => (rlimit.name === 'core' ? { ...rlimit, value: 0 } : rlimit));
  assert.notDeepEqual(belowFloor({ ...good, rlimits }), []);
});

for (const name of ['prlimit64', 'setrlimit', 'seccomp']) {
  test(`a filter that allows ${name} whatever its arguments is below the floor`, () => {
    const good = specFor();
    const rules = [...good.seccomp.rules, { names: [name], why: 'what an attacker would add' }];
    assert.notDeepEqual(belowFloor({ ...good, seccomp: { ...good.seccomp, rules } }), []);
  });
}

const LOG_FILTER = `
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
RET_LOG = ctypes.create_string_buffer(struct.pack('HBBI', 0x06, 0, 0, 0x7ffc0000))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(RET_LOG)))
print(libc.syscall(317, 1, 2, program))
`;

test('a program cannot have the kernel of the host log its calls', { skip: skip || (process.arch === 'x64' ? false : 'numbers of x86-64') }, async () => {
  assert.ok(caisson);
  const { stdout } = await caisson.run({ argv: ['python3', '-c', LOG_FILTER] });
  assert.equal(stdout.toString().trim(), '-1');
});

const SPEED = `
import time
def chunk():
  start = time.perf_counter()
  for i in range(400000): i * i
  return time.perf_counter() - start
print(sorted(chunk() for _ in range(31))[15])
`;

/** Echo and line discipline of a terminal are the work of kernel threads, which no control group holds. */
const TERMINAL_WORK = `
import os, termios, time
end = time.time() + 4
for _ in range(24):
  if os.fork() == 0:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    while time.time() < end:
      try:
        while True: os.write(master, b'\\n' * 4096)
      except BlockingIOError: pass
      termios.tcflush(slave, termios.TCIFLUSH)
      try:
        while True: os.read(master, 65536)
      except BlockingIOError: pass
      time.sleep(0.0002)
    os._exit(0)
time.sleep(4)
`;

test('a neighbour of a sandbox that works its terminals keeps at least 80% of its speed', { skip }, async () => {
  const kept: number[] = [];
  // Whatever else this machine does can only make the neighbour look slower, so one clean measurement is enough.
  while (kept.length < 8 && Math.max(0, ...kept) < 0.8) {
    const alone = await chunkSeconds();
    const greedy = caisson?.run({ argv: ['python3', '-c', TERMINAL_WORK] });
    await delay(1_200);
    kept.push(alone / (await chunkSeconds()));
    await greedy;
  }
  assert.ok(Math.max(...kept) >= 0.8, `kept ${kept.map((share) => share.toFixed(2)).join(', ')}`);
});

async function chunkSeconds(): Promise<number> {
  assert.ok(caisson);
  const { stdout } = await caisson.run({ argv: ['python3', '-c', SPEED] });
  return Number(stdout.toString());
}

const SIGNAL_BY_SOCKET = `
import fcntl, os, signal, socket, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
a, b = socket.socketpair()
try:
  fcntl.fcntl(a, fcntl.F_SETOWN, 1)
  fcntl.fcntl(a, 10, signal.SIGKILL)
  fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
  b.send(b'x')
except OSError: pass
time.sleep(0.3)
`;

for (const level of ['container', 'gvisor'] as const) {
  test(`at level ${level} pid 1 takes no signal that a socket sends for a program`, { skip }, async (t) => {
    assert.ok(caisson);
    if (!(await caisson.levels()).includes(level)) return t.skip(`level ${level} is not here`);
    const { result } = await caisson.run({ argv: ['python3', '-c', SIGNAL_BY_SOCKET], level });
    assert.deepEqual(result.ending, { kind: 'exited', code: 0 });
  });
}

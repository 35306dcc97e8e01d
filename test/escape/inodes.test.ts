import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const PROGRAM = '/usr/bin/factor';
let caisson: Caisson | undefined;

before(async () => {
  if (IS_ROOT) caisson = await startCaisson();
});
after(async () => caisson?.[Symbol.asyncDispose]());

async function python(text: string): Promise<string> {
  assert.ok(caisson);
  const { stdout, stderr, result } = await caisson.run({ argv: ['python3', '-c', text] });
  assert.equal(result.exit, 0, stderr.toString());
  return stdout.toString();
}

const WATCH = `
import ctypes, os, time
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0o4000)
if fd >= 0: libc.inotify_add_watch(fd, b'/usr/bin', 0x20)
time.sleep(2)
try: events = os.read(fd, 65536) if fd >= 0 else b''
except BlockingIOError: events = b''
print('seen' if b'factor' in events else 'nothing')
`;

test('a sandbox that watches /usr does not learn which programs others run', { skip }, async () => {
  const watching = python(WATCH);
  await delay(1_000);
  spawnSync(PROGRAM, ['12']);
  assert.equal((await watching).trim(), 'nothing');
});

const lock = (path: string, holdS: number): string => `
import fcntl, time
file = open('${path}')
try:
  fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  print('locked')
except OSError: print('held by another')
time.sleep(${holdS})
`;

for (const path of [PROGRAM, '/etc/passwd', '/.caisson/init']) {
  test(`a lock on ${path} is not seen by another sandbox`, { skip }, async () => {
    const first = python(lock(path, 2));
    await delay(1_000);
    assert.equal((await python(lock(path, 0))).trim(), 'locked');
    assert.equal((await first).trim(), 'locked');
  });
}

const USED_BY_ANOTHER = `
import os, time
fd = os.open('${PROGRAM}', os.O_RDONLY)
used = 0
try:
  for _ in range(30):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    time.sleep(0.06)
    try: used += os.preadv(fd, [bytearray(1)], 4096, os.RWF_NOWAIT)
    except BlockingIOError: pass
    time.sleep(0.008)
except OSError: used = 0
print('seen' if used else 'nothing')
`;

test('a sandbox cannot learn from the page cache which programs others run', { skip }, async () => {
  const watching = python(USED_BY_ANOTHER);
  await delay(800);
  for (let i = 0; i < 4; i++) {
    spawnSync(PROGRAM, ['12']);
    await delay(150);
  }
  assert.equal((await watching).trim(), 'nothing');
});

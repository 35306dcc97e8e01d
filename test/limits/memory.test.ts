import assert from 'node:assert/strict';
import { MIB } from '@caisson/contract';
import { atEachLevel, lines, python, sharedInstance } from './given.ts';

const instance = sharedInstance();

/** The kernel lets a process that it has chosen to kill pass the limit by some pages, so that it can end. */
const DYING_BYTES = 256 * 1024;

atEachLevel(instance, 'allocating 1 GB exits 137 with the reason', async (run) => {
  const { result } = await run({ argv: python('x = bytearray(10 ** 9)') });
  assert.equal(result.exit, 137);
  assert.deepEqual(result.ending, { kind: 'out-of-memory', limitBytes: 512 * MIB });
  assert.equal(result.reason, 'the command was killed: it needed more than its 512 MiB of memory');
  assert.ok((result.usage.oomKills ?? 0) > 0);
  assert.ok((result.usage.memoryPeakBytes ?? 0) <= 512 * MIB + DYING_BYTES);
});

atEachLevel(instance, 'files are memory: tmpfs of all places together cannot pass the limit', async (run) => {
  const { result } = await run({
    argv: ['sh', '-c', 'for f in /workspace/f /tmp/f /dev/shm/f; do head -c 200M /dev/zero > $f; done; echo survived'],
    limits: { memoryBytes: 64 * MIB, workspaceBytes: 256 * MIB, tmpBytes: 256 * MIB },
  });
  assert.equal(result.exit, 137);
  assert.ok((result.usage.memoryPeakBytes ?? 0) <= 64 * MIB + DYING_BYTES);
});

atEachLevel(instance, 'a child that is killed for memory does not take its parent\'s own exit status away', async (run) => {
  const ran = await run({ argv: ['sh', '-c', 'python3 -c "x = bytearray(10 ** 9)" || echo survived; exit 4'], limits: { memoryBytes: 64 * MIB } });
  assert.deepEqual([ran.result.exit, lines(ran).at(-1)], [4, 'survived']);
}, ['container']);

atEachLevel(instance, 'memory within the limit is there to be used', async (run) => {
  const ran = await run({ argv: python('x = bytearray(300 * 2 ** 20); print(len(x))') });
  assert.deepEqual([ran.result.exit, lines(ran)], [0, [String(300 * MIB)]]);
});

/** Prints the error of each way to ask for huge pages, and then that each of the same calls without them is answered. */
const HUGE_PAGES = `
import ctypes, errno, mmap, platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
memfd_create, shmget = {'x86_64': (319, 29), 'aarch64': (279, 194)}[platform.machine()]
ABOVE = 1 << 40 # a bit that the kernel takes away from an int, and a filter sees
def attempt(number, *arguments):
  answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(each) if isinstance(each, int) else each for each in arguments])
  return 'given' if answer >= 0 else errno.errorcode[ctypes.get_errno()]
def mapped(flags):
  try: mmap.mmap(-1, 2 << 20, flags=mmap.MAP_ANONYMOUS | flags)
  except OSError as error: return errno.errorcode[error.errno]
  return 'given'
HUGE, PRIVATE, SHARED, GIB = 0x40000, mmap.MAP_PRIVATE, mmap.MAP_SHARED, 30 << 26
print(*[mapped(flags) for flags in (HUGE | PRIVATE, HUGE | SHARED, HUGE | PRIVATE | GIB)])
print(*[attempt(memfd_create, ctypes.c_char_p(b'x'), flags) for flags in (4, 4 | 1, 4 | GIB, 4 | ABOVE)])
print(*[attempt(shmget, 0, 2 << 20, 0o1600 | flags) for flags in (0o4000, 0o4000 | GIB, 0o4000 | ABOVE)])
print(mapped(PRIVATE), attempt(memfd_create, ctypes.c_char_p(b'x'), 1), attempt(shmget, 0, 4096, 0o1600))
`;

// Where the pool of the host is empty the kernel would answer ENOMEM or ENOSPC: only a refusal holds on a host that has pages.
atEachLevel(instance, 'no page of a sandbox lies outside its memory limit, huge ones included', async (run) => {
  const ran = await run({ argv: python(HUGE_PAGES) });
  assert.deepEqual([ran.result.exit, lines(ran)], [0, ['EPERM EPERM EPERM', 'EPERM EPERM EPERM EPERM', 'EPERM EPERM EPERM', 'given given given']]);
});

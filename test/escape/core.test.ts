import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';

/** prlimit64(2) is call 302 on x86-64; resource 4 is RLIMIT_CORE. The second number hides it from a careless filter. */
const LOWER = `
import ctypes, resource
libc = ctypes.CDLL(None, use_errno=True)
zero = (ctypes.c_ulong * 2)(0, 0)
tries = [libc.syscall(302, 0, ctypes.c_ulong(which), zero, 0) for which in (4, 0x100000004)]
other = libc.syscall(302, 0, ctypes.c_ulong(resource.RLIMIT_NOFILE), (ctypes.c_ulong * 2)(64, 64), 0)
print(tries, resource.getrlimit(resource.RLIMIT_CORE), other)
`;

test('a crash in a sandbox cannot start a core_pattern helper of the host: RLIMIT_CORE is 1 and stays 1', async (t) => {
  if (!IS_ROOT) return t.skip(NEEDS_ROOT);
  if (process.arch !== 'x64') return t.skip('the call number is that of x86-64');
  await using caisson = await startCaisson();
  for (const level of (await caisson.levels()).filter((each) => each !== 'microvm')) {
    const { result, stdout } = await caisson.run({ argv: ['python3', '-c', LOWER], level });
    assert.equal(result.exit, 0);
    assert.equal(stdout.toString('utf8').trim(), '[-1, -1] (1, 1) 0', level);
  }
});

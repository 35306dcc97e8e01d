import assert from 'node:assert/strict';
import { MIB } from '@caisson/contract';
import { atEachLevel, lines, python, sharedInstance } from './given.ts';

const instance = sharedInstance();

const FILL = (place: string): string => `
import errno, os
n = 0
try:
  f = open("${place}/fill", "wb", buffering=0)
  while n < 10 ** 9: n += f.write(bytes(65536))
except OSError as error:
  print(n, errno.errorcode[error.errno])
`;

const COUNT = (place: string): string => `
import errno
n = 0
try:
  while n < 10000:
    open("${place}/%d" % n, "w").close()
    n += 1
except OSError as error:
  print(n, errno.errorcode[error.errno])
`;

for (const place of ['/workspace', '/tmp']) {
  atEachLevel(instance, `a file that fills ${place} ends with ENOSPC at its size`, async (run) => {
    // The other place is larger, so that the limit of one file is not met first.
    const limits = place === '/tmp' ? { tmpBytes: 4 * MIB } : { workspaceBytes: 4 * MIB };
    const ran = await run({ argv: python(FILL(place)), limits });
    assert.deepEqual([ran.result.exit, lines(ran)], [0, [`${4 * MIB} ENOSPC`]]);
  });

  atEachLevel(instance, `empty files that fill ${place} end with ENOSPC at their number`, async (run) => {
    const ran = await run({ argv: python(COUNT(place)), limits: { inodes: 500 } });
    const [files, error] = (lines(ran)[0] ?? '').split(' ');
    assert.equal(error, 'ENOSPC');
    assert.ok(Number(files) > 450 && Number(files) <= 500, `${files} files`);
  }, ['container']);
}

atEachLevel(instance, 'empty files without end, in a kernel that does not count them, end at the memory limit', async (run) => {
  const { result } = await run({
    argv: python('n = 0\nwhile True:\n  open("/tmp/%0200d" % n, "w").close()\n  n += 1'),
    limits: { memoryBytes: 48 * MIB, wallMs: 60_000 },
  });
  assert.equal(result.ending.kind, 'out-of-memory');
}, ['gvisor']);

atEachLevel(instance, 'the next sandbox finds /workspace and /tmp empty', async (run) => {
  await run({ argv: ['sh', '-c', 'echo secret | tee /workspace/a /tmp/b /dev/shm/c'] });
  const ran = await run({ argv: ['ls', '-A', '/workspace', '/tmp', '/dev/shm'] });
  assert.deepEqual(lines(ran), ['/dev/shm:', '', '/tmp:', '', '/workspace:']);
});

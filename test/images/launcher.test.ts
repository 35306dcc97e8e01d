import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { openImages, type ImageInfo } from '@caisson/images';
import { remoteFacts, remoteLaunch } from '@caisson/runtime';
import { levelOf } from '@caisson/contract';
import { specFor } from '../drivers/given.ts';
import { runIn } from '../drivers/suite.ts';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { BUSYBOX, busybox, plain, writeLayout } from './given.ts';

const skip = !IS_ROOT ? NEEDS_ROOT : !existsSync(BUSYBOX) && 'needs busybox-static';
let dir: string;
let image: ImageInfo;
let caisson: Caisson;

before(async () => {
  if (skip !== false) return;
  dir = mkdtempSync(`${tmpdir()}/caisson-images-launcher-`);
  writeLayout(`${dir}/layout`, { layers: [plain([...busybox(), { name: 'which', body: 'the image\n' }])] });
  const store = await openImages({ dir: `${dir}/state/images` });
  image = await store.import({ kind: 'layout', path: `${dir}/layout` }, { onProgress: () => undefined, signal: AbortSignal.timeout(60_000) });
  caisson = await startCaisson({ dir: `${dir}/state` });
});
after(async () => {
  await caisson?.[Symbol.asyncDispose]();
  if (skip === false) rmSync(dir, { recursive: true, force: true });
});

for (const level of ['container', 'gvisor'] as const) {
  test(`at level ${level} the launcher starts a sandbox from an image that the state directory keeps, behind folders closed to all`, { skip }, async (t) => {
    assert.equal(statSync(dir).mode & 0o077, 0);
    const facts = await remoteFacts(caisson.paths.launcherSocket, false);
    const host = { ...facts, runtimes: facts.runtimes.filter((runtime) => levelOf(runtime) === level) };
    if (host.runtimes.length === 0) return t.skip(`${level} is not there`);
    const machine = await remoteLaunch(caisson.paths.launcherSocket, specFor(host, {}, image.digest as `sha256:${string}`), { signal: AbortSignal.timeout(30_000) });
    try {
      const { stdout, end, stderr } = await runIn(machine, ['/bin/sh', '-c', 'cat /which; id -un'], { env: ['PATH=/bin'] });
      assert.deepEqual([end, stdout.toString()], [{ kind: 'exited', code: 0 }, 'the image\nagent\n'], stderr.toString());
    } finally {
      await machine.close();
    }
  });
}

test('IMAGE_NOT_FOUND: the launcher starts nothing from an image that is not there', { skip }, async () => {
  const host = await remoteFacts(caisson.paths.launcherSocket, false);
  await assert.rejects(remoteLaunch(caisson.paths.launcherSocket, specFor(host, {}, `sha256:${'0'.repeat(64)}`), { signal: AbortSignal.timeout(30_000) }), { code: 'IMAGE_NOT_FOUND' });
});

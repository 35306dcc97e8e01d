import assert from 'node:assert/strict';
import { test } from 'node:test';
import { levelOf } from '@caisson/contract';
import { remoteFacts, remoteLaunch } from '@caisson/runtime';
import { specFor } from '../drivers/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { ground } from './given.ts';

const { caisson } = ground();

for (const level of ['container', 'gvisor'] as const) {
  test(`FLOOR_VIOLATED: a one-shot sandbox at level ${level} whose spec names a workspace is not started with something else in its place`, { skip: IS_ROOT ? false : NEEDS_ROOT, timeout: 60_000 }, async (t) => {
    const { paths } = await caisson();
    const facts = await remoteFacts(paths.launcherSocket, false);
    const host = { ...facts, runtimes: facts.runtimes.filter((runtime) => levelOf(runtime) === level) };
    if (host.runtimes.length === 0) return t.skip(`${level} is not delivered here`);
    const spec = specFor(host);
    const mounts = spec.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === '/workspace' ? { kind: 'workspace', workspace: 'wsp-0000000000000000' } as const : mount));
    await assert.rejects(remoteLaunch(paths.launcherSocket, { ...spec, mounts }, { signal: AbortSignal.timeout(30_000) }), { code: 'FLOOR_VIOLATED' });
  });
}

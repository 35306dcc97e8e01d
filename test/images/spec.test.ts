import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsolationSpec, type Mount } from '@caisson/contract';
import { belowFloor, compile, toOci } from '@caisson/isolation';
import { allowed, goodHost, placement, shippedSeccomp } from '../isolation/given.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as const;
const ROOT = '/run/caisson/images/roots/sbx-0123456789abcdef';

function specOf(image: IsolationSpec['image'], level: 'container' | 'gvisor' = 'container'): IsolationSpec {
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed({ level }), host: goodHost, seccomp: shippedSeccomp, image });
  if ('refused' in compiled) throw new Error(compiled.refused.message);
  return compiled;
}

for (const level of ['container', 'gvisor'] as const) {
  test(`at level ${level} an image differs from host in its root and in that no file of the host is mounted, and in nothing else`, () => {
    const [host, image] = [toOci(specOf('host', level), placement), toOci(specOf(DIGEST, level), { ...placement, imageRoot: ROOT })];
    assert.deepEqual(image.root, { path: ROOT, readonly: true });
    assert.deepEqual({ ...image, root: host.root }, { ...host, mounts: host.mounts.filter(({ destination }) => !['/usr', '/etc'].includes(destination)) });
    assert.deepEqual(belowFloor(specOf(DIGEST, level)), []);
  });
}

test('a spec names an image by digest or as host, and by nothing else', () => {
  const good = specOf(DIGEST);
  assert.deepEqual(IsolationSpec.parse(good), good);
  for (const image of ['latest', 'debian:12', 'sha256:abc', `sha256:${'A'.repeat(64)}`, `sha256:${'a'.repeat(64)}/../x`, '/etc', '', ` ${DIGEST}`, `${DIGEST}\n`]) {
    assert.equal(IsolationSpec.safeParse({ ...good, image }).success, false, image);
    assert.ok(belowFloor({ ...good, image: image as typeof DIGEST }).includes('its image is not named by digest'), image);
  }
});

test('a spec of an image that mounts files of the host is below the floor, and one of host without them is', () => {
  const [host, image] = [specOf('host'), specOf(DIGEST)];
  for (const kind of ['usr', 'etc'] as const) {
    const mounts: readonly Mount[] = image.mounts.toSpliced(3, 0, { kind });
    assert.match(belowFloor({ ...image, mounts }).join(), /the mounts are/);
  }
  assert.match(belowFloor({ ...image, mounts: host.mounts }).join(), /the mounts are/);
  assert.match(belowFloor({ ...host, mounts: image.mounts }).join(), /the mounts are/);
});

test('LAUNCH_FAILED: an image without a root is not replaced by the root of another', () => {
  assert.throws(() => toOci(specOf(DIGEST), placement), { code: 'LAUNCH_FAILED' });
});

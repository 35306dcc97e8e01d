import { suite, test } from 'node:test';
import { hideUnifiedCgroup } from '@caisson/runtime';
import { againInOwnMounts, IS_ROOT, leftOf, needsOwnMounts, readHost } from './given.ts';
import { linkSuite } from './link.ts';

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) suite('links under OCI runtimes', () => test('lead to the gate alone', (t) => t.skip('needs root: it makes network namespaces')));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  const isHere = (name: string): boolean => runtimes.some((runtime) => runtime.name === name);
  // Every other test of the network takes the fastest runtime of a level, which is crun: all attacks are made there.
  for (const [name, like] of [['crun', undefined], ['runc', 'crun']] as const) {
    linkSuite(name, isHere(name) ? false : `${name} is not installed`, { like: like !== undefined && isHere(like) ? like : undefined, ways: name === 'crun' ? [] : undefined, left: leftOf });
  }
}

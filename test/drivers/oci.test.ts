import { suite, test } from 'node:test';
import { hideUnifiedCgroup } from '@caisson/runtime';
import { againInOwnMounts, IS_ROOT, leftOf, needsOwnMounts, openGround, readHost, specFor } from './given.ts';
import { ociSuite } from './oci.ts';
import { driverSuite } from './suite.ts';

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) suite('OCI drivers', () => test('pass the suite of drivers', (t) => t.skip('needs root: cgroups cannot be made without it')));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runc', 'runsc']) {
    const skip = runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`;
    driverSuite(name, async () => {
      const ground = await openGround(name);
      return {
        driver: ground.driver,
        spec: (limits) => specFor(ground.host, limits, 'host', true),
        programs: true,
        left: () => leftOf(ground),
        [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
      };
    }, skip);
    ociSuite(name, skip);
  }
}

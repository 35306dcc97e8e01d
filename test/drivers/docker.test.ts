import { leftInDockerd } from './dockerd.ts';
import { leftOf, openGround, specFor } from './given.ts';
import { besideDockerd } from './in-docker.ts';
import { DOCKER_BROKEN, ociSuite } from './oci.ts';
import { driverSuite } from './suite.ts';

await besideDockerd(import.meta.filename, (folder) => {
  const inDaemon = (): readonly string[] => leftInDockerd(folder);
  driverSuite('docker', async () => {
    const ground = await openGround('docker');
    return {
      driver: ground.driver,
      spec: (limits) => specFor(ground.host, limits, 'host', true),
      programs: true,
      userInside: ground.driver.facts.userInside,
      left: () => [...leftOf(ground), ...inDaemon()],
      [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
    };
  });
  // dockremap, the user that the daemon takes ids from, has them above those that Debian gives to people.
  ociSuite('docker', false, { uids: [100_000 + 1, 2 ** 32 - 1], broken: DOCKER_BROKEN, more: inDaemon });
});

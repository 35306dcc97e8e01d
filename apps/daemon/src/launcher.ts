import { CaissonError, instanceId, type StatePaths } from '@caisson/contract';
import { hideUnifiedCgroup, openDrivers, prepareHostImage, probeHost, serveLauncher, stirCgroups, uidBase, type LauncherRoom } from '@caisson/runtime';
import { listenUnix } from '@caisson/wire';
import { identities, self } from './identity.ts';
import { log } from './lifetime.ts';

/** The one process with privilege: it makes sandboxes from specs that pass its own floor, and listens to control only. */
export async function openLauncher(paths: StatePaths, home: string): Promise<AsyncDisposable> {
  const native = `${home}/build/native`;
  const rootless = self().uid !== 0;
  const probe = { extraPath: [native], initBinary: `${native}/caisson-init`, without: [] };
  if (!rootless) await hideUnifiedCgroup();
  const image = await prepareHostImage(paths.images, probe.initBinary).catch((cause: unknown) => {
    throw new CaissonError('DAEMON_START_FAILED', { detail: `the image host cannot be made: ${String(cause)}`, log: paths.log });
  });
  const instance = instanceId(paths.dir);
  const cgroupParent = `/caisson/${instance}`;
  const drivers = openDrivers({
    image,
    sandboxes: paths.sandboxes,
    runtimes: paths.runtimes,
    cgroupParent,
    uidBase: uidBase(instance),
  });

  let facts = await probeHost(probe);
  for (const driver of drivers.of(facts).values()) {
    for (const id of await driver.sweep()) log('swept', { sandbox: id });
  }
  const room: LauncherRoom = {
    async facts(again) {
      if (again) facts = await probeHost(probe);
      return facts;
    },
    expect: () => void stirCgroups(),
    driver: (name) => drivers.of(facts).get(name),
  };
  const owner = rootless ? undefined : identities(paths.dir, self()).control.uid;
  const serving = new Set<Promise<void>>();
  const listening = await listenUnix(paths.launcherSocket, { owner }, (socket) => {
    const served = serveLauncher(socket, room).finally(() => serving.delete(served));
    serving.add(served);
  });
  return {
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await Promise.allSettled(serving); // a launch that was given up is not over before it has left nothing
      await drivers.settled();
    },
  };
}

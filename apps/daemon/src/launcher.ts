import { CaissonError, instanceId, type StatePaths } from '@caisson/contract';
import { hideUnifiedCgroup, Keeper, openDrivers, prepareHostImage, probeHost, processUids, removeLinks, serveKeeper, serveLauncher, showFolder, stirCgroups, sweepDenials, sweepMirrors, uidBase, type LauncherRoom } from '@caisson/runtime';
import { openImages, type ImageStore } from '@caisson/images';
import { RemoteFiles } from '@caisson/vault';
import { openWorkspaces } from '@caisson/workspace';
import { listenUnix } from '@caisson/wire';
import { identities, self } from './identity.ts';
import { handOverFiles } from './hand-over-files.ts';
import { imageVerbs } from './image-verbs.ts';
import { log } from './lifetime.ts';
import { workspaceVerbs } from './workspace-verbs.ts';

/** The one process with privilege: it makes sandboxes from specs that pass its own floor, and listens to control only. */
export async function openLauncher(paths: StatePaths, home: string): Promise<AsyncDisposable> {
  const native = `${home}/build/native`;
  const rootless = self().uid !== 0;
  const probe = { extraPath: [native], initBinary: `${native}/caisson-init`, without: [], dockerHost: process.env['DOCKER_HOST'], gateNamespace: paths.gateNamespace };
  if (!rootless) await hideUnifiedCgroup();
  const image = await prepareHostImage(paths.images, probe.initBinary).catch((cause: unknown) => {
    throw new CaissonError('DAEMON_START_FAILED', { detail: `the image host cannot be made: ${String(cause)}`, log: paths.log });
  });
  const instance = instanceId(paths.dir);
  const cgroupParent = `/caisson/${instance}`;
  const denials = { folder: paths.denials, ...identities(paths.dir, self()).gate };
  const mirrors = { folder: paths.mirrors, ...identities(paths.dir, self()).mirror };
  if (!rootless) await Promise.all([sweepDenials(denials), sweepMirrors(mirrors)]);
  const images = await openStore(paths, rootless);
  const gate = rootless ? undefined : { tool: `${native}/caisson-gate`, place: paths.gateNamespace, denials };
  if (gate !== undefined && !(await removeLinks(gate))) log('links stay', { detail: 'a sandbox that gets the address of one has no network' });
  const files = new RemoteFiles(paths.vaultLauncherSocket);
  const drivers = openDrivers({
    image,
    images,
    sandboxes: paths.sandboxes,
    runtimes: paths.runtimes,
    cgroupParent,
    uidBase: uidBase(instance),
    secrets: { value: (asked) => files.file(asked), now: Date.now },
    gate,
    mirrors: rootless ? undefined : mirrors,
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
  const workspaces = await openWorkspaces({ dir: paths.workspaces, mounts: paths.mounts, tool: `${native}/caisson-store`, now: Date.now });
  const keeper = new Keeper({ room, journals: paths.journals, checkpoints: paths.checkpoints, now: Date.now, attach: (id, holder) => workspaces.attach(id, holder) });
  await keeper.open();
  const owner = rootless ? undefined : identities(paths.dir, self()).control.uid;
  const serving = new Set<Promise<void>>();
  const listening = await listenUnix(paths.launcherSocket, { owner }, (socket) => {
    const served = serveLauncher(socket, room).finally(() => serving.delete(served));
    serving.add(served);
  });
  const extras = { verbs: { ...workspaceVerbs(workspaces), ...imageVerbs(images) }, files: handOverFiles(`${native}/caisson-files`) };
  const keeping = await listenUnix(paths.keeperSocket, { owner }, (socket) => serveKeeper(socket, keeper, extras));
  return {
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await keeping[Symbol.asyncDispose]();
      await keeper[Symbol.asyncDispose]();
      await workspaces[Symbol.asyncDispose]();
      await Promise.allSettled(serving); // a launch that was given up is not over before it has left nothing
      await drivers.settled();
      files[Symbol.dispose]();
    },
  };
}

/** Images are kept below the state directory, whatever its modes, and shown where the uid that reads them can pass. */
async function openStore({ dir, images }: StatePaths, rootless: boolean): Promise<ImageStore> {
  const kept = `${dir}/images`;
  if (rootless) return openImages({ dir: kept });
  const shown = `${images}/store`;
  await showFolder(kept, shown);
  const uid = processUids(instanceId(dir)).images;
  return openImages({ dir: shown, as: { uid, gid: uid } });
}

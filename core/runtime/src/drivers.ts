import { randomInt } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { HostFacts } from '@caisson/contract';
import { cgroupAt, makeCgroupParent, removeCgroupParent, type Cgroup } from './cgroup.ts';
import { Cores, onlineProcessors } from './cores.ts';
import { DIALECTS } from './dialect.ts';
import { DockerDriver } from './docker-driver.ts';
import type { Driver } from './driver.ts';
import type { GateGround } from './gate-link.ts';
import type { HostImage } from './host-image.ts';
import type { ImageRoots } from './image-root.ts';
import type { MirrorGround } from './mirror-folder.ts';
import { OciDriver } from './oci-driver.ts';
import type { SecretGround } from './secret-files.ts';
import { Slots } from './slots.ts';

export interface DriversGround {
  readonly image: HostImage;
  /** Images other than `host`. Default: there are none. */
  readonly images?: ImageRoots;
  /** Makes links to the gate. Default: no sandbox can have one. */
  readonly gate?: GateGround | undefined;
  /** Has the values of secrets that are files. Default: no sandbox can have one. */
  readonly secrets?: SecretGround | undefined;
  /** Where mirrors of records lie. Default: no sandbox can have one. */
  readonly mirrors?: MirrorGround | undefined;
  readonly sandboxes: string;
  readonly runtimes: string;
  readonly cgroupParent: string;
  /** First host uid of this instance. */
  readonly uidBase: number;
}

export interface Drivers {
  /** One driver per runtime of the host. Asking again with new facts adds what has been found since. */
  of(host: HostFacts): ReadonlyMap<string, Driver>;
  /** Resolves when every clean-up under way is done and the instance's own cgroups are removed, if nothing is in them. */
  settled(): Promise<void>;
}

/** Opens the drivers of one launcher; they share its uid slots and folders. */
export function openDrivers(ground: DriversGround): Drivers {
  const slots = new Slots(ground.uidBase, randomInt(60_000));
  const cores = new Cores(onlineProcessors());
  const drivers = new Map<string, Driver>();
  let parent: Cgroup | undefined;
  mkdirSync(ground.sandboxes, { recursive: true, mode: 0o711 });
  mkdirSync(ground.runtimes, { recursive: true, mode: 0o700 });
  return {
    of(host) {
      parent ??= openParent(ground.cgroupParent, host);
      for (const facts of host.runtimes) {
        if (drivers.has(facts.name)) continue;
        const dialect = DIALECTS.find(({ name }) => name === facts.name);
        const shared = { ...ground, host, slots, cores };
        drivers.set(facts.name, dialect === undefined ? new DockerDriver(facts, shared, randomInt(60_000)) : new OciDriver(facts, dialect, shared));
      }
      return drivers;
    },
    async settled() {
      await Promise.all([...drivers.values()].map((driver) => driver.settled()));
      if (parent !== undefined) await removeCgroupParent(parent);
    },
  };
}

function openParent(path: string, host: HostFacts): Cgroup {
  const parent = cgroupAt(path, host.cgroup);
  makeCgroupParent(parent);
  return parent;
}

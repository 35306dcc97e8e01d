import { randomInt } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { HostFacts } from '@caisson/contract';
import { cgroupAt, makeCgroupParent, removeCgroupParent, type Cgroup } from './cgroup.ts';
import { Cores, onlineProcessors } from './cores.ts';
import { DIALECTS } from './dialect.ts';
import type { Driver } from './driver.ts';
import type { HostImage } from './host-image.ts';
import { OciDriver } from './oci-driver.ts';
import { Slots } from './slots.ts';

export interface DriversGround {
  readonly image: HostImage;
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
        const dialect = DIALECTS.find(({ name }) => name === facts.name);
        if (dialect !== undefined && !drivers.has(facts.name)) drivers.set(facts.name, new OciDriver(facts, dialect, { ...ground, host, slots, cores }));
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

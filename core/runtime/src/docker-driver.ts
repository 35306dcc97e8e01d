import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type HostFacts, type IsolationSpec, type RuntimeFacts } from '@caisson/contract';
import { toDocker, type DockerPlacement } from '@caisson/isolation';
import { cgroupAt, killAll, removeCgroup, type Cgroup } from './cgroup.ts';
import type { Cores } from './cores.ts';
import { createContainer, INSTANCE_LABEL, pidOf, removeSandbox, SANDBOX_LABEL, startContainer } from './docker-containers.ts';
import { makeDenialsFolder, removeDenialsFolder } from './denials-folder.ts';
import { dockerRoot } from './docker-image.ts';
import { splitStream } from './docker-stream.ts';
import { launchFailed, type Driver, type LaunchOptions, type LiveMachine } from './driver.ts';
import { Engine } from './engine.ts';
import { addressOf, joinGate, leaveGate, type GateGround } from './gate-link.ts';
import { writeOwnEtc, type HostImage } from './host-image.ts';
import { Lanes } from './lanes.ts';
import { frozen, OciMachine } from './oci-machine.ts';
import type { Slots } from './slots.ts';
import { sweepLeft } from './sweep.ts';
import { writeTrust } from './trust.ts';
import { boundProcess } from './user-counts.ts';

export interface DockerGround {
  readonly host: HostFacts;
  readonly image: HostImage;
  /** Holds one folder per sandbox: what is its own alone, and the proof that it may have left something behind. */
  readonly sandboxes: string;
  /** Folder of this instance in every cgroup hierarchy. */
  readonly cgroupParent: string;
  readonly cores: Cores;
  /** Makes links to the gate. Default: no sandbox can have one. */
  readonly gate?: GateGround | undefined;
  /** Addresses of links are made of these. */
  readonly slots: Slots;
}

/** Longest from starting the container to the first word of pid 1. */
const LAUNCH_MS = 10_000;
/**
 * Ids inside that sandboxes have. All containers of a daemon have one map, and those of others mostly have ids below. The
 * last that is mapped is 65535, and 65534 is nobody.
 */
const FIRST_ID = 20_000;
const IDS = 65_534 - FIRST_ID;
const SWEEPS_AT_ONCE = 4;
/** Pid 1 says nothing before it is told that its bounds and its link are there. */
const WAITING = { nextExec: 1 };

interface Placed {
  readonly id: string;
  readonly folder: string;
  /** Holds the group of the sandbox, which is named by its container. */
  readonly groups: string;
}

/** A driver for a Docker daemon that maps ids. Its sandboxes share the map, so each has an id inside that no other has. */
export class DockerDriver implements Driver {
  readonly facts: RuntimeFacts;
  readonly #ground: DockerGround;
  readonly #engine: Engine;
  readonly #underWay = new Set<Promise<boolean>>();
  #root: Promise<string> | undefined;
  #nextId: number;

  /** @param start Any number; a new launcher starts elsewhere than the last, so that ids are not reused soon. */
  constructor(facts: RuntimeFacts, ground: DockerGround, start: number) {
    this.#nextId = start % IDS;
    this.facts = facts;
    this.#ground = ground;
    this.#engine = new Engine(facts.path);
  }

  #place(id: string): Placed {
    const { sandboxes, cgroupParent } = this.#ground;
    return { id, folder: `${sandboxes}/${id}`, groups: `${cgroupParent}/${id}` };
  }

  async launch(spec: IsolationSpec, { signal }: LaunchOptions): Promise<LiveMachine> {
    signal.throwIfAborted();
    const placed = this.#place(spec.id);
    // Its own folder first: what follows may remove everything of this id, and the id of another must be safe from that.
    await mkdir(placed.folder, { mode: 0o700 }).catch((error: unknown) => {
      throw launchFailed(error);
    });
    let lanes: Lanes | undefined;
    let imageId: string | undefined;
    let slot: number | null = null;
    try {
      if (spec.network === 'gate') ({ slot } = this.#ground.slots.take());
      await chmod(placed.folder, 0o711); // root inside passes through it, and lists nothing
      imageId = await this.#imageId();
      signal.throwIfAborted();
      await writeFile(`${placed.folder}/runtime`, this.facts.name);
      const { container, uid } = await this.#create(spec, placed, { imageId, denials: await this.#denials(slot) });
      signal.throwIfAborted();
      const { control, data } = splitStream(await this.#engine.attach(container));
      lanes = new Lanes(control, data, WAITING);
      const address = await started(async () => {
        await startContainer(this.#engine, container);
        const pid = await pidOf(this.#engine, container);
        await boundProcess(this.#ground.image.usersPath, { pid, group: container });
        return slot === null ? null : joinGate(this.#ground.gate, { slot, folder: placed.folder, pid, group: container });
      }, lanes, signal);
      const hello = await lanes.hello;
      return new OciMachine({
        runtime: this.facts.name,
        user: { uid, gid: uid },
        address,
        hello,
        lanes,
        group: this.#group(placed, container),
        groupEndsWithPid1: true,
        spec,
        memory: undefined,
        hold: frozen(this.#group(placed, container)),
        cores: this.#ground.cores,
        release: () => this.#releaseLater(placed, slot),
      });
    } catch (error) {
      lanes?.destroy();
      await this.#release(placed, slot, imageId !== undefined);
      throw signal.aborted ? signal.reason : launchFailed(error);
    }
  }

  async #denials(slot: number | null): Promise<string | undefined> {
    const { gate } = this.#ground;
    return slot === null || gate === undefined ? undefined : makeDenialsFolder(gate.denials, addressOf(slot));
  }

  #group(placed: Placed, container: string): Cgroup {
    return cgroupAt(`${placed.groups}/${container}`, this.#ground.host.cgroup);
  }

  async #create(spec: IsolationSpec, placed: Placed, { imageId, denials }: Pick<DockerPlacement, 'imageId' | 'denials'>): Promise<{ readonly container: string; readonly uid: number }> {
    const { image, host, cgroupParent } = this.#ground;
    const trust = await writeTrust(spec, { root: image.rootfs, bundle: placed.folder });
    for (let tried = 0; tried < IDS; tried++) {
      const uid = FIRST_ID + this.#nextId;
      this.#nextId = (this.#nextId + 1) % IDS;
      const own = `${placed.folder}/etc`;
      await writeOwnEtc(own, uid);
      const container = await createContainer(this.#engine, uid, toDocker(spec, {
        imageId,
        etc: { shared: `${image.rootfs}/etc`, own },
        trust,
        denials,
        empty: `${image.rootfs}/mnt`,
        id: uid,
        cgroupParent: placed.groups,
        swapAccounting: host.cgroup.swapAccounting,
        socketLimit: host.cgroup.mode !== 'v2',
        arch: host.arch,
        labels: { [SANDBOX_LABEL]: spec.id, [INSTANCE_LABEL]: cgroupParent },
      }));
      if (container !== null) return { container, uid };
    }
    throw new CaissonError('LAUNCH_FAILED', { detail: `all ${IDS} ids of the Docker daemon are taken` });
  }

  #imageId(): Promise<string> {
    this.#root ??= dockerRoot(this.#engine, this.#ground.image.rootfs).catch((error: unknown) => {
      this.#root = undefined;
      throw error;
    });
    return this.#root;
  }

  /** The groups that the daemon has made for a sandbox. */
  async #groupsOf(placed: Placed): Promise<readonly Cgroup[]> {
    const { folders } = cgroupAt(placed.groups, this.#ground.host.cgroup);
    const names = (await Promise.all(folders.map((folder) => readdir(folder, { withFileTypes: true }).catch(() => [])))).flat();
    return [...new Set(names.filter((entry) => entry.isDirectory()).map(({ name }) => name))].map((name) => this.#group(placed, name));
  }

  /**
   * The link goes first, and without the daemon: whoever keeps a namespace keeps no way to the gate in it.
   *
   * @returns false when something is left: the name of the container holds its uid then, and the next sweep tries again
   */
  async #release(placed: Placed, slot: number | null, isKnown = true): Promise<boolean> {
    const groups = await this.#groupsOf(placed);
    const gone = (await Promise.all(groups.map((group) => killAll(group)))).every((each) => each);
    const left = await leaveGate(this.#ground.gate, placed.folder);
    if (slot !== null && left) {
      if (this.#ground.gate !== undefined) await removeDenialsFolder(this.#ground.gate.denials, addressOf(slot)); // the next with this address has its own
      this.#ground.slots.give(slot);
    }
    const removed = !isKnown || (await removeSandbox(this.#engine, placed.id).then(() => true, () => false));
    for (const group of groups) await removeCgroup(group);
    await removeCgroup(cgroupAt(placed.groups, this.#ground.host.cgroup));
    if (!removed || !gone || !left) return false;
    await rm(placed.folder, { recursive: true, force: true });
    return true;
  }

  #releaseLater(placed: Placed, slot: number | null): void {
    // What cannot be released now keeps its id and its folder, and the next sweep tries again.
    const work = this.#release(placed, slot).catch(() => false).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  sweep(): Promise<readonly string[]> {
    return sweepLeft({ sandboxes: this.#ground.sandboxes, runtime: this.facts.name, atOnce: SWEEPS_AT_ONCE }, (id) => this.#release(this.#place(id), null));
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

/** Resolves with what starting gave, when pid 1 has spoken. What the daemon says of a failure says more than the loss of pid 1. */
async function started<T>(start: () => Promise<T>, lanes: Lanes, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  const late = delay(LAUNCH_MS, undefined, { signal: over.signal }).then(() => {
    throw new CaissonError('LAUNCH_FAILED', { detail: `pid 1 did not speak within ${LAUNCH_MS} ms` });
  });
  late.catch(() => undefined);
  const aborted = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true, signal: over.signal }));
  aborted.catch(() => undefined);
  try {
    const given = await start();
    signal.throwIfAborted();
    lanes.resume(true); // it waits for that
    const spoken = lanes.hello.catch(() => {
      throw new CaissonError('LAUNCH_FAILED', { detail: 'pid 1 ended before it spoke' });
    });
    await Promise.race([spoken, late, aborted]);
    return given;
  } finally {
    over.abort();
  }
}

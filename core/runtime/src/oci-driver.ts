import { execFile, type ChildProcess } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CaissonError, type HostFacts, type IsolationSpec, type RuntimeFacts } from '@caisson/contract';
import { toOci, type Placement } from '@caisson/isolation';
import { checkpointMaker, readCheckpoint, type CheckpointContent } from './checkpoint.ts';
import { cgroupAt, killAll, removeCgroup, type Cgroup } from './cgroup.ts';
import type { Cores } from './cores.ts';
import type { Dialect, Invocation } from './dialect.ts';
import { launchFailed, type Driver, type ExecEvents, type LaunchOptions, type LiveMachine, type RestoredExec, type RestoreOptions } from './driver.ts';
import { makeDenialsFolder, removeDenialsFolder } from './denials-folder.ts';
import { addressOf, linkToGate, unlinkGate, type GateGround, type GateLink } from './gate-link.ts';
import type { HostImage } from './host-image.ts';
import { makeImageRoot, removeImageRoot, type HeldImage, type ImageRoots } from './image-root.ts';
import { Lanes, type LaneExec } from './lanes.ts';
import { makeMirror, removeMirror, type MirrorGround } from './mirror-folder.ts';
import { frozen, OciMachine, type Hold, type OciMachineParts } from './oci-machine.ts';
import { startRuntime } from './runtime-process.ts';
import { mountSecrets, unmountSecrets, type SecretFiles, type SecretGround } from './secret-files.ts';
import type { Slots } from './slots.ts';
import { sweepLeft } from './sweep.ts';
import { writeTrust } from './trust.ts';
import { countedCommand, countsPlace } from './user-counts.ts';

const run = promisify(execFile);

/** What all drivers of one launcher share. */
export interface OciGround {
  readonly host: HostFacts;
  readonly image: HostImage;
  /** Images other than `host`. Default: there are none. */
  readonly images?: ImageRoots | undefined;
  /** Makes links to the gate. Default: no sandbox can have one. */
  readonly gate?: GateGround | undefined;
  /** Has the values of secrets that are files. Default: no sandbox can have one. */
  readonly secrets?: SecretGround | undefined;
  /** Where mirrors of records lie. Default: no sandbox can have one. */
  readonly mirrors?: MirrorGround | undefined;
  /** Holds one folder per sandbox: its bundle, and the proof that it may have left something behind. */
  readonly sandboxes: string;
  /** Holds one folder per runtime for the runtime's own state. */
  readonly runtimes: string;
  /** Folder of this instance in every cgroup hierarchy, such as `/caisson/0f…`. */
  readonly cgroupParent: string;
  readonly slots: Slots;
  readonly cores: Cores;
}

/** Longest from starting the runtime to the first word of pid 1. */
const LAUNCH_MS = 10_000;
/** Longest that a runtime works on saving memory, and added to LAUNCH_MS for what a start reads. */
const SAVE_MS = 300_000;
const RESTORE_BYTES_PER_MS = 50_000;
/** Longest that the end of a runtime that was killed is waited for. */
const ABANDON_MS = 5_000;
/** Sandboxes of a dead launcher that are swept at once. */
const SWEEPS_AT_ONCE = 8;
/** Times that clean-up tries again to end what a sandbox still runs, 5 s each. */
const RELEASE_RETRIES = 12;
/** Longest that a runtime takes to stop what runs in a sandbox. */
const PAUSE_MS = 5_000;
/** Runtime messages kept for the error text. */
const MESSAGE_BYTES = 4_096;

/** How a sandbox begins: from nothing, or from what was saved. */
interface Beginning {
  readonly argv: (where: Invocation) => readonly string[];
  readonly patienceMs: number;
  readonly saved?: CheckpointContent;
  readonly adopt?: RestoreOptions['adopt'];
}

interface Begun {
  readonly machine: OciMachine;
  /** In the order of the execs that were saved. */
  readonly adopted: readonly LaneExec[];
}

interface Placed {
  readonly id: string;
  readonly network: boolean;
  readonly bundle: string;
  readonly group: Cgroup;
}

/** A driver for a runtime that speaks the OCI runtime specification and passes descriptors on to pid 1. */
export class OciDriver implements Driver {
  readonly facts: RuntimeFacts;
  readonly #dialect: Dialect;
  readonly #ground: OciGround;
  readonly #underWay = new Set<Promise<boolean>>();
  /** Images of running sandboxes, by sandbox. */
  readonly #held = new Map<string, HeldImage>();

  constructor(facts: RuntimeFacts, dialect: Dialect, ground: OciGround) {
    this.facts = facts;
    this.#dialect = dialect;
    this.#ground = ground;
  }

  #place(id: string, network: boolean): Placed {
    const { sandboxes, cgroupParent, host } = this.#ground;
    return { id, network, bundle: `${sandboxes}/${id}`, group: cgroupAt(`${cgroupParent}/${id}`, host.cgroup) };
  }

  #invocation(placed: Placed): Invocation {
    return { stateDir: `${this.#ground.runtimes}/${this.facts.name}`, bundle: placed.bundle, id: placed.id, network: placed.network };
  }

  async launch(spec: IsolationSpec, options: LaunchOptions): Promise<LiveMachine> {
    return (await this.#begin(spec, options, { argv: this.#dialect.run, patienceMs: LAUNCH_MS })).machine;
  }

  async restore(spec: IsolationSpec, folder: string, options: RestoreOptions): Promise<{ readonly machine: LiveMachine; readonly execs: readonly RestoredExec[] }> {
    const { memory } = this.#dialect;
    if (memory === undefined) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: spec.level, why: `${this.facts.name} cannot restore processes` });
    const saved = await readCheckpoint(folder, { spec, maker: await this.#maker(spec) });
    const patienceMs = LAUNCH_MS + saved.sizeBytes / RESTORE_BYTES_PER_MS;
    const { machine, adopted } = await this.#begin(spec, options, { argv: (where) => memory.restore(where, folder), patienceMs, saved, adopt: options.adopt });
    const execs = saved.execs.flatMap((each, index) => {
      const exec = adopted[index];
      return exec === undefined || each.lane.isDial ? [] : [{ memo: each.memo, exec: machine.takeOver(exec, each) }];
    });
    return { machine, execs };
  }

  #maker({ image }: Pick<IsolationSpec, 'image'>): ReturnType<typeof checkpointMaker> {
    return checkpointMaker({ runtime: this.facts.name, version: this.facts.version, initPath: this.#ground.image.initPath, image });
  }

  #memory(spec: IsolationSpec, placed: Placed): OciMachineParts['memory'] {
    const { memory } = this.#dialect;
    if (memory === undefined) return undefined;
    return {
      maker: () => this.#maker(spec),
      save: (folder) => save(this.facts.path, memory.save(this.#invocation(placed), folder)),
    };
  }

  #hold(placed: Placed): Hold {
    const { pause } = this.#dialect;
    if (pause === undefined) return frozen(placed.group);
    const tell = async (argv: readonly string[]): Promise<void> => void (await run(this.facts.path, argv, { timeout: PAUSE_MS, killSignal: 'SIGKILL', maxBuffer: MESSAGE_BYTES }));
    const go = (): Promise<void> => tell(pause.go(this.#invocation(placed)));
    const stop = (): Promise<void> => tell(pause.stop(this.#invocation(placed))).catch(async (error: unknown) => {
      await go().catch(() => undefined); // what is stopped in part goes on as a whole
      throw new CaissonError('SANDBOX_STATE', { sandbox: placed.id, state: 'running', detail: `it was not paused: ${messageOf(error)}` });
    });
    return { stop, go };
  }

  async #begin(spec: IsolationSpec, { signal, workspaceFor }: LaunchOptions, beginning: Beginning): Promise<Begun> {
    signal.throwIfAborted();
    const placed = this.#place(spec.id, spec.network === 'gate');
    // Its own folder first: what follows may remove everything of this id, and the id of another must be safe from that.
    await mkdir(placed.bundle, { mode: 0o700 }).catch((error: unknown) => {
      throw launchFailed(error);
    });
    let slot: number | null = null;
    let lanes: Lanes | undefined;
    let secrets: SecretFiles | undefined;
    try {
      const taken = this.#ground.slots.take();
      slot = taken.slot;
      const workspace = await workspaceFor?.(taken.hostUid);
      const root = await makeImageRoot(spec, this.#ground.image.roots, this.#ground.images);
      if (root.held !== undefined) this.#held.set(spec.id, root.held);
      const trust = await writeTrust(spec, { root: root.path ?? this.#ground.image.rootfs, bundle: placed.bundle });
      const link = placed.network ? await linkToGate(this.#ground.gate, { slot: taken.slot, folder: placed.bundle }) : null;
      const denials = link === null ? undefined : await this.#denials(link);
      // The second id of the slot is the sandbox's user; the first is root inside, which nothing runs as.
      secrets = await mountSecrets(spec, { bundle: placed.bundle, uid: taken.hostUid + 1, ground: this.#ground.secrets });
      const mirror = await makeMirror(spec, this.#ground.mirrors);
      await this.#writeBundle(spec, placed, { hostUid: taken.hostUid, workspace, imageRoot: root.path, trust, netns: link?.netns, denials, secrets: secrets?.folder, mirror });
      const begun = await this.#start(placed, signal, beginning, { hostUid: taken.hostUid, user: spec.user });
      lanes = begun.lanes;
      const hello = await lanes.hello;
      signal.throwIfAborted();
      const machine = new OciMachine({
        runtime: this.facts.name,
        user: spec.user,
        address: link?.address ?? null,
        hello,
        lanes,
        group: placed.group,
        spec,
        memory: this.#memory(spec, placed),
        hold: this.#hold(placed),
        cores: this.#ground.cores,
        secrets,
        release: () => this.#releaseLater(placed, taken.slot),
      });
      return { machine, adopted: begun.adopted };
    } catch (error) {
      lanes?.destroy();
      secrets?.[Symbol.dispose]();
      await this.#release(placed, slot);
      throw signal.aborted ? signal.reason : launchFailed(error);
    }
  }

  async #writeBundle(spec: IsolationSpec, placed: Placed, where: Pick<Placement, 'hostUid' | 'workspace' | 'imageRoot' | 'trust' | 'netns' | 'denials' | 'secrets' | 'mirror'>): Promise<void> {
    const { host, image, cgroupParent } = this.#ground;
    const config = toOci(spec, {
      ...image,
      ...where,
      ...(await countsPlace(this.#dialect.counting, image.usersPath)),
      hostGid: where.hostUid,
      cgroupsPath: `${cgroupParent}/${spec.id}`,
      swapAccounting: host.cgroup.swapAccounting,
      socketLimit: host.cgroup.mode !== 'v2',
      arch: host.arch,
    });
    await writeFile(`${placed.bundle}/runtime`, this.facts.name);
    await writeFile(`${placed.bundle}/config.json`, JSON.stringify(config), { mode: 0o600 });
  }

  async #start(placed: Placed, signal: AbortSignal, { argv, patienceMs, saved, adopt }: Beginning, who: Pick<Parameters<typeof countedCommand>[1], 'hostUid' | 'user'>): Promise<{ readonly lanes: Lanes; readonly adopted: readonly LaneExec[] }> {
    const where = this.#invocation(placed);
    await mkdir(where.stateDir, { recursive: true, mode: 0o700 });
    const command = countedCommand(this.#dialect.counting, { ...who, tool: this.#ground.image.usersPath, command: { path: this.facts.path, argv: argv(where) } });
    const { runtime, control, data } = await startRuntime({ ...command, lanes: this.#dialect.lanes, folder: placed.bundle });
    const lanes = new Lanes(control, data, saved);
    try {
      const adopted = saved === undefined || adopt === undefined ? [] : adoptAll(lanes, saved, adopt);
      await started(runtime, lanes, { signal, patienceMs });
      return { lanes, adopted };
    } catch (error) {
      lanes.destroy();
      await abandon(runtime, placed.group);
      throw error;
    } finally {
      for (const stream of [runtime.stdin, runtime.stdout, runtime.stderr]) stream?.destroy();
    }
  }

  /** @returns false when something still runs: the uid and the folder stay taken then, and the next sweep tries again. */
  async #release(placed: Placed, slot: number | null): Promise<boolean> {
    let gone = await killAll(placed.group);
    for (let retries = 0; !gone && retries < RELEASE_RETRIES; retries++) gone = await killAll(placed.group);
    await run(this.facts.path, this.#dialect.remove(this.#invocation(placed))).catch(() => undefined);
    await this.#removeState(placed);
    await removeCgroup(placed.group);
    if (!gone) return false;
    await removeImageRoot(this.#ground.image.roots, placed.id);
    this.#held.get(placed.id)?.[Symbol.dispose]();
    this.#held.delete(placed.id);
    await unlinkGate(placed.bundle);
    await unmountSecrets(placed.bundle);
    await rm(placed.bundle, { recursive: true, force: true });
    const { gate, mirrors } = this.#ground;
    if (mirrors !== undefined) await removeMirror(mirrors, placed.id);
    if (gate !== undefined && placed.network && slot !== null) await removeDenialsFolder(gate.denials, addressOf(slot)); // the next with this address has its own
    if (slot !== null) this.#ground.slots.give(slot);
    return true;
  }

  async #denials({ address }: GateLink): Promise<string | undefined> {
    const { gate } = this.#ground;
    return gate === undefined ? undefined : makeDenialsFolder(gate.denials, address);
  }

  /** A runtime that was killed half-way may not know its own sandbox; its files all carry the sandbox's id. */
  async #removeState(placed: Placed): Promise<void> {
    const { stateDir, id } = this.#invocation(placed);
    const names = await readdir(stateDir).catch(() => []);
    for (const name of names.filter((each) => each.includes(id))) await rm(`${stateDir}/${name}`, { recursive: true, force: true });
  }

  #releaseLater(placed: Placed, slot: number): void {
    // What cannot be released now keeps its id and its folder, and the next sweep tries again.
    const work = this.#release(placed, slot).catch(() => false).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  sweep(): Promise<readonly string[]> {
    return sweepLeft({ sandboxes: this.#ground.sandboxes, runtime: this.facts.name, atOnce: SWEEPS_AT_ONCE }, (id) => this.#release(this.#place(id, false), null));
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

/** What the program of a runtime printed, or why it did not run. */
function messageOf(error: unknown): string {
  const { stderr = '', message } = error as Error & { readonly stderr?: string };
  return (stderr || message).trim().slice(0, MESSAGE_BYTES);
}

/** Has the program of a runtime save memory. @throws CaissonError CHECKPOINT_FAILED */
async function save(path: string, argv: readonly string[]): Promise<void> {
  await run(path, argv, { timeout: SAVE_MS, killSignal: 'SIGKILL', maxBuffer: MESSAGE_BYTES }).catch((error: unknown) => {
    throw new CaissonError('CHECKPOINT_FAILED', { detail: messageOf(error) });
  });
}

/** Connections came from outside a sandbox that is not this one: they end. */
const NOBODY: ExecEvents = { onOutput: async () => undefined };

/** Connects the execs that go on with whoever takes them over, and only then lets pid 1 speak. */
function adoptAll(lanes: Lanes, saved: CheckpointContent, adopt: RestoreOptions['adopt']): readonly LaneExec[] {
  const adopted = saved.execs.map(({ lane, memo }) => lanes.adopt(lane, lane.isDial ? NOBODY : adopt(memo)));
  for (const [index, { lane }] of saved.execs.entries()) if (lane.isDial) adopted[index]?.kill();
  lanes.resume(true);
  return adopted;
}

/** Resolves when pid 1 has spoken; rejects with what the runtime printed when it failed first. */
async function started(runtime: ChildProcess, lanes: Lanes, { signal, patienceMs }: { readonly signal: AbortSignal; readonly patienceMs: number }): Promise<void> {
  const messages: Buffer[] = [];
  let bytes = 0;
  for (const stream of [runtime.stdout, runtime.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      if (bytes < MESSAGE_BYTES) messages.push(chunk);
      bytes += chunk.length;
    });
    stream?.on('error', () => undefined);
  }
  runtime.stdin?.on('error', () => undefined);
  const { promise: failed, reject } = Promise.withResolvers<never>();
  const fail = (detail: string): void => reject(new CaissonError('LAUNCH_FAILED', { detail }));
  const abort = (): void => reject(signal.reason as Error);
  const timer = setTimeout(() => fail(`pid 1 did not speak within ${Math.round(patienceMs)} ms`), patienceMs);
  runtime.on('error', (error) => fail(error.message));
  runtime.on('close', (code) => {
    if (code !== 0) fail(`the runtime ended with ${code}: ${Buffer.concat(messages).toString('utf8').slice(0, MESSAGE_BYTES).trim()}`);
    else lanes.hello.catch(() => fail('pid 1 ended before it spoke'));
  });
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    await Promise.race([spoken(runtime, lanes), failed]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

/**
 * Kills a runtime that did not finish, and resolves when nothing of it is left that could still make what is about to be
 * removed. crun works in a grandchild, which outlives it: whatever a runtime starts is in the sandbox's group before long,
 * and holds the pipe of its messages until then.
 */
async function abandon(runtime: ChildProcess, group: Cgroup): Promise<void> {
  if (runtime.pid === undefined) return;
  runtime.kill('SIGKILL');
  for (const until = Date.now() + ABANDON_MS; Date.now() < until; ) {
    await killAll(group);
    if (runtime.stdout?.closed !== false && runtime.stderr?.closed !== false) return;
    await delay(2);
  }
}

/** Pid 1 has spoken and the runtime has left: until then it may still write its own state. */
async function spoken(runtime: ChildProcess, lanes: Lanes): Promise<void> {
  const left = new Promise<void>((resolve) => runtime.once('exit', (code) => (code === 0 ? resolve() : undefined)));
  const never = new Promise<never>(() => undefined); // the runtime's own exit says more than the loss of pid 1
  await Promise.all([left, lanes.hello.catch(() => never)]);
}

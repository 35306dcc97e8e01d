import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Duplex } from 'node:stream';
import { CaissonError, type HostFacts, type IsolationSpec, type RuntimeFacts } from '@caisson/contract';
import { toOci } from '@caisson/isolation';
import { cgroupAt, killAll, removeCgroup, type Cgroup } from './cgroup.ts';
import type { Cores } from './cores.ts';
import type { Dialect } from './dialect.ts';
import type { Driver, Machine } from './driver.ts';
import type { HostImage } from './host-image.ts';
import { Lanes } from './lanes.ts';
import { OciMachine } from './oci-machine.ts';
import type { Slots } from './slots.ts';

const run = promisify(execFile);

/** What all drivers of one launcher share. */
export interface OciGround {
  readonly host: HostFacts;
  readonly image: HostImage;
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
/** Longest that the end of a runtime that was killed is waited for. */
const ABANDON_MS = 5_000;
/** Times that clean-up tries again to end what a sandbox still runs, 5 s each. */
const RELEASE_RETRIES = 12;
/** Runtime messages kept for the error text. */
const MESSAGE_BYTES = 4_096;

interface Placed {
  readonly id: string;
  readonly bundle: string;
  readonly group: Cgroup;
}

/** A driver for a runtime that speaks the OCI runtime specification and passes descriptors on to pid 1. */
export class OciDriver implements Driver {
  readonly facts: RuntimeFacts;
  readonly #dialect: Dialect;
  readonly #ground: OciGround;
  readonly #underWay = new Set<Promise<void>>();

  constructor(facts: RuntimeFacts, dialect: Dialect, ground: OciGround) {
    this.facts = facts;
    this.#dialect = dialect;
    this.#ground = ground;
  }

  #place(id: string): Placed {
    const { sandboxes, cgroupParent, host } = this.#ground;
    return { id, bundle: `${sandboxes}/${id}`, group: cgroupAt(`${cgroupParent}/${id}`, host.cgroup) };
  }

  #invocation(placed: Placed): { stateDir: string; bundle: string; id: string } {
    return { stateDir: `${this.#ground.runtimes}/${this.facts.name}`, bundle: placed.bundle, id: placed.id };
  }

  async launch(spec: IsolationSpec, { signal }: { readonly signal: AbortSignal }): Promise<Machine> {
    signal.throwIfAborted();
    const placed = this.#place(spec.id);
    // Its own folder first: what follows may remove everything of this id, and the id of another must be safe from that.
    await mkdir(placed.bundle, { mode: 0o700 }).catch((error: unknown) => {
      throw launchFailed(error);
    });
    let slot: number | null = null;
    let lanes: Lanes | undefined;
    try {
      const taken = this.#ground.slots.take();
      slot = taken.slot;
      await this.#writeBundle(spec, placed, taken.hostUid);
      lanes = await this.#start(placed, signal);
      const hello = await lanes.hello;
      signal.throwIfAborted();
      return new OciMachine({
        runtime: this.facts.name,
        hello,
        lanes,
        group: placed.group,
        limits: spec.limits,
        cores: this.#ground.cores,
        release: () => this.#releaseLater(placed, taken.slot),
      });
    } catch (error) {
      lanes?.destroy();
      await this.#release(placed, slot);
      throw signal.aborted ? signal.reason : launchFailed(error);
    }
  }

  async #writeBundle(spec: IsolationSpec, placed: Placed, hostUid: number): Promise<void> {
    const { host, image, cgroupParent } = this.#ground;
    const config = toOci(spec, {
      ...image,
      hostUid,
      hostGid: hostUid,
      cgroupsPath: `${cgroupParent}/${spec.id}`,
      swapAccounting: host.cgroup.swapAccounting,
      socketLimit: host.cgroup.mode !== 'v2',
      arch: host.arch,
    });
    await writeFile(`${placed.bundle}/runtime`, this.facts.name);
    await writeFile(`${placed.bundle}/config.json`, JSON.stringify(config), { mode: 0o600 });
  }

  async #start(placed: Placed, signal: AbortSignal): Promise<Lanes> {
    await mkdir(this.#invocation(placed).stateDir, { recursive: true, mode: 0o700 });
    // Pipes, never /dev/null: runtimes change the owner of the stdio they are given, and /dev/null is the host's.
    const runtime = spawn(this.facts.path, this.#dialect.run(this.#invocation(placed)), {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    const lanes = new Lanes(runtime.stdio[3] as Duplex, runtime.stdio[4] as unknown as Duplex);
    try {
      await started(runtime, lanes, signal);
      return lanes;
    } catch (error) {
      lanes.destroy();
      await abandon(runtime, placed.group);
      throw error;
    } finally {
      for (const stream of [runtime.stdin, runtime.stdout, runtime.stderr]) stream?.destroy();
    }
  }

  async #release(placed: Placed, slot: number | null): Promise<void> {
    let gone = await killAll(placed.group);
    for (let retries = 0; !gone && retries < RELEASE_RETRIES; retries++) gone = await killAll(placed.group);
    await run(this.facts.path, this.#dialect.remove(this.#invocation(placed))).catch(() => undefined);
    await this.#removeState(placed);
    await removeCgroup(placed.group);
    if (!gone) return; // the uid and the folder stay taken: the next sweep tries again
    await rm(placed.bundle, { recursive: true, force: true });
    if (slot !== null) this.#ground.slots.give(slot);
  }

  /** A runtime that was killed half-way may not know its own sandbox; its files all carry the sandbox's id. */
  async #removeState(placed: Placed): Promise<void> {
    const { stateDir, id } = this.#invocation(placed);
    const names = await readdir(stateDir).catch(() => []);
    for (const name of names.filter((each) => each.includes(id))) await rm(`${stateDir}/${name}`, { recursive: true, force: true });
  }

  #releaseLater(placed: Placed, slot: number): void {
    const work = this.#release(placed, slot).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  async sweep(): Promise<readonly string[]> {
    const swept: string[] = [];
    for (const id of await readdir(this.#ground.sandboxes)) {
      const runtime = await readFile(`${this.#ground.sandboxes}/${id}/runtime`, 'utf8').catch(() => '');
      // A folder without a readable name was never handed to a runtime; any driver may remove it.
      if (runtime !== this.facts.name && runtime !== '') continue;
      await this.#release(this.#place(id), null);
      swept.push(id);
    }
    return swept;
  }

  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

function launchFailed(error: unknown): CaissonError {
  if (error instanceof CaissonError) return error;
  return new CaissonError('LAUNCH_FAILED', { detail: error instanceof Error ? error.message : String(error) }, { cause: error });
}

/** Resolves when pid 1 has spoken; rejects with what the runtime printed when it failed first. */
async function started(runtime: ChildProcess, lanes: Lanes, signal: AbortSignal): Promise<void> {
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
  const timer = setTimeout(() => fail(`pid 1 did not speak within ${LAUNCH_MS} ms`), LAUNCH_MS);
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

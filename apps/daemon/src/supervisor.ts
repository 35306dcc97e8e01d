import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, instanceId, type Policy, type StatePaths, type SupervisorStatus } from '@caisson/contract';
import type { GatePlace } from '@caisson/runtime';
import { answer, Channel, checkOwnFolders, listenUnix } from '@caisson/wire';
import { archiveVariables, readArchive } from './archiver.ts';
import { readFeeding } from './feeder.ts';
import { GateNamespace } from './gate-namespace.ts';
import { identities, self, type Identities } from './identity.ts';
import { log, type Word } from './lifetime.ts';
import { readPolicy, secretVariables } from './policy.ts';

/** Stopped in reverse order. Control is started last: nothing runs before its record can be written. */
const ROLES = ['scribe', 'archiver', 'feeder', 'launcher', 'mirror', 'vault', 'gate', 'control'] as const;
type Role = (typeof ROLES)[number];

/** Tells a process that it is started again: the instance is up, and who asks it is to be told what is wrong. */
export const AGAIN = 'again';

/** Pause before a process that died is started again; doubles up to the longest. */
const RESTART_MS = 50;
const RESTART_LONGEST_MS = 1_000;
/** A process that has run this long has recovered. */
const STEADY_MS = 30_000;
/** Longest from start to ready, and from SIGTERM to the end. */
const READY_MS = 30_000;
const STOP_MS = 10_000;

/** Not even by a signal does the vault open the port of a debugger; servers are known by the certificates of the host too. */
const VAULT_OPTIONS = ['--disable-sigusr1', '--use-system-ca'];
const VAULT_VARIABLES = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];
/** One byte, because that is too little for a core, and because with 0 one would still be handed to the program that core_pattern names: with 1 none is (do_coredump in Linux). */
const NO_CORE = ['prlimit', '--core=1:1'];

interface Supervised {
  readonly role: Role;
  child: ChildProcess;
  restarts: number;
  startedMs: number;
}

/** Starts the processes of an instance, restarts those that die, and stops them all when it is disposed of or asked to. */
export class Supervisor implements AsyncDisposable {
  readonly #paths: StatePaths;
  readonly #main: string;
  readonly #home: string;
  readonly #ids: Identities;
  readonly #startedMs = Date.now();
  readonly #supervised = new Map<Role, Supervised>();
  readonly #asked = Promise.withResolvers<void>();
  readonly #closers = new AsyncDisposableStack();
  readonly #namespace: GateNamespace;
  #gate: GatePlace = { problem: 'a namespace of its own takes root' };
  #secretVariables: readonly string[] = [];
  #archiveVariables: readonly string[] = [];
  #isMirrored = false;
  #stopping = false;

  constructor(paths: StatePaths, main: string, home: string) {
    this.#paths = paths;
    this.#main = main;
    this.#home = home;
    this.#ids = identities(paths.dir, self());
    this.#namespace = new GateNamespace({ tool: `${home}/build/native/caisson-gate`, rules: `${home}/profiles/egress/gate.nft`, file: paths.gateNamespace });
  }

  /** Resolves when somebody asked by `down`. */
  get asked(): Promise<void> {
    return this.#asked.promise;
  }

  /** @throws CaissonError DAEMON_RUNNING, STATE_DIR_INVALID, or what a process said that could not start. */
  async start(): Promise<void> {
    try {
      this.#closers.use(await takeLock(this.#paths));
      // Folders go while the lock is held, because without it they are another start's; and what is in them goes only
      // when they have been found to be ours.
      this.#closers.defer(() => removeIfEmpty(this.#paths.run));
      const { value: policy } = readPolicy(this.#paths, this.#home);
      this.#isMirrored = policy.auditMirror === true;
      this.#makeFolders();
      this.#closers.defer(() => removeRun(this.#paths));
      this.#closers.use(this.#namespace);
      await Promise.all([this.#startRole('scribe', 0).then(() => this.#startFollowers()), this.#startVault(policy), this.#startNetwork().then(() => this.#startRole('launcher', 0))]);
      await this.#startRole('control', 0);
      this.#closers.use(
        await listenUnix(this.#paths.supervisorSocket, {}, (socket) => {
          const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(this.#verbs, message, channel).catch(() => channel[Symbol.dispose]()) });
        }),
      );
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  readonly #verbs = {
    status: async (): Promise<SupervisorStatus> => ({
      pid: process.pid,
      dir: this.#paths.dir,
      startedMs: this.#startedMs,
      processes: [...this.#supervised.values()].map(({ role, child, restarts }) => ({ name: role, pid: child.pid ?? 0, uid: this.#ids[role].uid, restarts })),
    }),
    down: async (): Promise<null> => {
      setImmediate(() => this.#asked.resolve());
      return null;
    },
  };

  /** The vault, where the policy has secrets. Which ones is looked up once: what changes holds from the next start of Caisson. */
  async #startVault(policy: Policy): Promise<void> {
    if (Object.keys(policy.secrets ?? {}).length === 0) return;
    this.#secretVariables = secretVariables(policy);
    await this.#startRole('vault', 0);
  }

  /** Who follows the log, where that is wanted: the archiver, and the feeder of its witnesses and time-stamps. What they cannot reach stops no start. */
  async #startFollowers(): Promise<void> {
    const config = readArchive(this.#paths);
    if (config !== null) this.#archiveVariables = archiveVariables(config);
    await Promise.all([
      config === null ? undefined : this.#startRole('archiver', 0),
      readFeeding(this.#paths) === null ? undefined : this.#startRole('feeder', 0),
      this.#isMirrored ? this.#startRole('mirror', 0) : undefined,
    ]);
  }

  /** The gate, where the host has the means; it records, and so the scribe is there before anything passes. */
  async #startNetwork(): Promise<void> {
    if (self().uid !== 0) return;
    this.#gate = await this.#namespace.open(() => void this.#restartNetwork());
    if ('netns' in this.#gate) await this.#startRole('gate', 0).catch((error: Error) => this.#noGate(this.#namespace.giveUp(`it does not start: ${error.message}`)));
  }

  /** Without a gate sandboxes have no network, and everything else works. */
  #noGate(place: GatePlace): void {
    this.#gate = place;
    const gate = this.#supervised.get('gate');
    this.#supervised.delete('gate'); // nobody starts it again
    gate?.child.kill('SIGKILL');
  }

  /** Whoever ended the holder of the namespace has ended the network of every sandbox that lives; new ones have the next. */
  async #restartNetwork(): Promise<void> {
    if (this.#stopping) return;
    log('died', { role: 'gate namespace', how: 'its holder ended' });
    const place = await this.#namespace.open(() => void this.#restartNetwork());
    if ('problem' in place) return this.#noGate(place);
    this.#gate = place;
    this.#supervised.get('gate')?.child.kill('SIGKILL'); // and is started again, in the next
  }

  #makeFolders(): void {
    const { dir, run } = this.#paths;
    const { control, scribe, gate, archiver, mirror } = this.#ids;
    try {
      mkdirSync(dir, { recursive: true, mode: 0o711 });
      checkOwnFolders([dir, ...this.#paths.ownFolders], { make: true });
      folder(`${dir}/log`, 0o700, self());
      folder(`${dir}/evidence`, 0o700, scribe);
      folder(this.#paths.ring, 0o700, scribe);
      this.#letFollowersIn();
      folder(`${dir}/control`, 0o700, control);
      folder(`${run}/control`, 0o700, control);
      folder(`${run}/scribe`, 0o750, scribe);
      folder(`${run}/gate`, 0o750, gate);
      folder(this.#paths.denials, 0o710, { uid: self().uid, gid: gate.gid }); // nobody else passes through it: what a sandbox sees of it is mounted there
      folder(this.#paths.mirrors, 0o750, { uid: self().uid, gid: archiver.gid }); // what a sandbox sees of it is mounted there
      folder(`${run}/mirror`, 0o750, { uid: mirror.uid, gid: scribe.gid });
      folder(`${run}/launcher`, 0o711, self());
      folder(`${run}/vault`, 0o711, self());
      folder(`${run}/images`, 0o711, self());
    } catch (cause) {
      if (cause instanceof CaissonError) throw cause;
      throw new CaissonError('STATE_DIR_INVALID', { dir, detail: (cause as Error).message }, { cause });
    }
  }

  /** Followers of the log pass through the evidence directory and read what is published to their group; what is made inside gets that group. */
  #letFollowersIn(): void {
    const { scribe, archiver, feeder } = this.#ids;
    const [isArchived, feeding] = [readArchive(this.#paths) !== null, readFeeding(this.#paths)];
    if (isArchived || feeding !== null || this.#isMirrored) folder(this.#paths.evidence, 0o2710, { uid: scribe.uid, gid: archiver.gid });
    if (isArchived) folder(this.#paths.archive, 0o750, { uid: archiver.uid, gid: scribe.gid });
    if (feeding !== null && feeding.feed !== null) folder(this.#paths.witness, 0o750, { uid: feeder.uid, gid: scribe.gid });
    if (feeding !== null && feeding.stamping !== null) folder(this.#paths.timestamps, 0o750, { uid: feeder.uid, gid: scribe.gid });
  }

  async #startRole(role: Role, restarts: number): Promise<void> {
    const child = spawn(...this.#command(role, restarts > 0), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: this.#environment(role) });
    const supervised: Supervised = { role, child, restarts, startedMs: Date.now() };
    this.#supervised.set(role, supervised);
    child.on('exit', (code, signal) => void this.#onExit(supervised, `${signal ?? code}`));
    child.on('error', (error) => void this.#onExit(supervised, error.message)); // it could not be started: no exit follows
    const word = await firstWord(child, role, this.#paths.log);
    if ('problem' in word) throw CaissonError.from(word.problem);
    log('ready', { role, pid: child.pid ?? 0 });
  }

  /** The launcher gets a mount namespace of its own, so that what it hides from its runtimes stays as it is on the host. */
  #command(role: Role, isAgain: boolean): [string, string[]] {
    const own = [process.execPath, '--disable-warning=ExperimentalWarning', ...(role === 'vault' ? VAULT_OPTIONS : []), this.#main, role, ...(isAgain ? [AGAIN] : [])];
    const argv = [...this.#before(role), ...own];
    return [argv[0] ?? '', argv.slice(1)];
  }

  #before(role: Role): readonly string[] {
    if (role === 'vault') return NO_CORE;
    if (self().uid !== 0) return [];
    if (role === 'launcher') return [...NO_CORE, 'unshare', '--mount', '--propagation', 'slave'];
    if (role !== 'gate' || !('netns' in this.#gate)) return [];
    const { uid, gid } = this.#ids.gate;
    return [...NO_CORE, `${this.#home}/build/native/caisson-gate`, 'start', this.#gate.netns, String(this.#gate.inode), String(uid), String(gid)];
  }

  /** A list, so that no secret of whoever started Caisson comes along; those that the policy names go to the vault alone. */
  #environment(role: Role): NodeJS.ProcessEnv {
    const passed = [...(role === 'vault' ? [...VAULT_VARIABLES, ...this.#secretVariables] : []), ...(role === 'archiver' ? this.#archiveVariables : []), 'PATH', 'HOME', 'CAISSON_DIR', 'CAISSON_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'XDG_CACHE_HOME', 'CAISSON_API_LISTEN', 'CAISSON_API_TLS_CERT', 'CAISSON_API_TLS_KEY', 'CAISSON_API_HOSTS', 'DOCKER_HOST'];
    const own = Object.fromEntries(passed.filter((name) => process.env[name] !== undefined).map((name) => [name, process.env[name]]));
    return { ...own, NODE_COMPILE_CACHE: `${this.#home}/build/compile-cache` };
  }

  async #onExit(supervised: Supervised, how: string): Promise<void> {
    if (this.#stopping || this.#supervised.get(supervised.role) !== supervised) return;
    log('died', { role: supervised.role, how });
    const restarts = Date.now() - supervised.startedMs > STEADY_MS ? 1 : supervised.restarts + 1;
    await delay(Math.min(RESTART_MS * 2 ** (restarts - 1), RESTART_LONGEST_MS));
    if (this.#stopping || this.#supervised.get(supervised.role) !== supervised) return;
    await this.#startRole(supervised.role, restarts).catch((error: Error) => log('restart failed', { role: supervised.role, message: error.message }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    for (const role of ROLES.toReversed()) {
      const child = this.#supervised.get(role)?.child;
      if (child !== undefined) await stop(child);
    }
    await this.#closers.disposeAsync();
  }
}

/** What a sandbox that would not end has left stays, because the next start's sweep goes by it. */
function removeRun({ run, sandboxes }: StatePaths): void {
  for (const name of readdirSync(run)) {
    if (`${run}/${name}` !== sandboxes) rmSync(`${run}/${name}`, { recursive: true, force: true });
  }
  removeIfEmpty(sandboxes);
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // not there, or not empty
  }
}

function folder(path: string, mode: number, owner: { readonly uid: number; readonly gid: number }): void {
  mkdirSync(path, { recursive: true, mode });
  chmodSync(path, mode);
  if (self().uid === 0) chownSync(path, owner.uid, owner.gid);
}

/** An abstract Unix address is held by one process at a time and freed by the kernel when that process ends. */
async function takeLock(paths: StatePaths): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(new CaissonError('DAEMON_RUNNING', { dir: paths.dir })));
    server.listen(`\0caisson-${self().uid}-${instanceId(paths.dir)}`, resolve);
  });
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

function firstWord(child: ChildProcess, role: Role, logPath: string): Promise<Word> {
  return new Promise((resolve, reject) => {
    const failed = (detail: string): void => reject(new CaissonError('DAEMON_START_FAILED', { detail: `${role} ${detail}`, log: logPath }));
    const timer = setTimeout(() => {
      failed(`was not ready within ${READY_MS} ms`);
      child.kill('SIGKILL');
    }, READY_MS);
    child.once('message', (word) => resolve(word as Word));
    child.once('error', (error) => failed(error.message));
    child.once('exit', (code, signal) => failed(`ended with ${signal ?? code} before it was ready`));
    child.once('message', () => clearTimeout(timer));
    child.once('exit', () => clearTimeout(timer));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

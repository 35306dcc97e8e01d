import { execFile } from 'node:child_process';
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, ftruncate, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { access, chmod, mkdir, rmdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CaissonError, type IsolationSpec, type SecretFileSpec } from '@caisson/contract';

const run = promisify(execFile);
const MOUNT_MS = 10_000;
const MODE = 0o400;
/** 32 files of 64 KiB, each in three versions: the one that is read, the one before it, and one that comes or goes. */
const SIZE_BYTES = 3 * 32 * 64 * 1024;
/** Of a version that was replaced the inode stays for as long as the sandbox has it open. Only who replaces makes inodes. */
const INODES = 16_384;
/** What a reader has left at least from when the version that it reads is replaced. */
const READ_MS = 250;
/** Timers count monotonic time, which stands still while the host sleeps, and no change of the clock reaches them. */
const LOOK_MS = 30_000;

/** What the launcher needs for secrets that are files. */
export interface SecretGround {
  /** Asks the vault. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
  value(asked: { readonly sandbox: string; readonly lease: string; readonly name: string }): Promise<{ readonly bytes: Buffer; readonly expiresMs: number | null }>;
  /** Wall time in milliseconds since 1970 UTC. */
  now(): number;
}

interface Place {
  /** The sandbox's folder. */
  readonly bundle: string;
  /** Host ids of the sandbox's user. */
  readonly uid: number;
  readonly ground: SecretGround | undefined;
}

interface Shown {
  readonly name: string;
  /** The reading whose value the file has: of two, the later began later and is the newer. */
  turn: number;
  /** Descriptor of the version that is read. While it is open for writing the kernel grants no lease on the file, by which the sandbox could hold up who opens it. */
  current: number | undefined;
  /** Descriptor of the version before it, which a reader may be in the midst of. */
  former: number | undefined;
  /** When that was replaced, by the monotonic clock in milliseconds. */
  replacedMs: number;
  expiring: NodeJS.Timeout | undefined;
}

/**
 * Writes the secrets that one sandbox has as files, on a tmpfs of the launcher's own that is mounted below the sandbox's folder,
 * in the launcher's mount namespace. The sandbox gets one folder of it, read-only: nothing in it can write there, fill it
 * or be in the way of a name. All of them or none.
 *
 * @returns undefined for a sandbox that has none
 * @throws CaissonError SECRET_UNAVAILABLE, LEASE_NOT_FOUND, LAUNCH_FAILED; `unmountSecrets` removes what was made
 */
export async function mountSecrets({ mounts }: Pick<IsolationSpec, 'mounts'>, { bundle, uid, ground }: Place): Promise<SecretFiles | undefined> {
  const asked = mounts.find((mount) => mount.kind === 'secrets');
  if (asked === undefined) return undefined;
  if (ground === undefined) throw new CaissonError('SECRET_UNAVAILABLE', { secret: asked.files[0]?.name ?? '', detail: 'there is no vault that the launcher could ask' });
  const at = `${bundle}/secrets`;
  await chmod(bundle, 0o711); // root inside passes through it, and lists nothing
  await mkdir(at, { mode: 0o711 });
  await mountTmpfs(at);
  await mkdir(`${at}/shown`);
  await chmod(`${at}/shown`, 0o755);
  await mkdir(`${at}/next`, { mode: 0o700 });
  const files = new SecretFiles({ at, uid, ground, sandbox: asked.sandbox });
  try {
    await Promise.all(asked.files.map((file) => files.add(file)));
    return files;
  } catch (error) {
    files[Symbol.dispose]();
    throw error;
  }
}

/** Without swap where the kernel knows that option (Linux 6.4, tmpfs.rst). */
async function mountTmpfs(at: string): Promise<void> {
  const options = `size=${SIZE_BYTES},nr_inodes=${INODES},mode=0711,nosuid,nodev,noexec`;
  const mount = async (all: string): Promise<void> => void (await run('/bin/mount', ['-t', 'tmpfs', '-o', all, 'tmpfs', at], { timeout: MOUNT_MS }));
  await mount(`${options},noswap`).catch((error: unknown) => {
    if ((error as { readonly killed?: boolean }).killed === true) throw error; // it may have mounted, and a second one would lie over it
    return mount(options);
  });
}

/** Lets go of the secrets of a sandbox in which nothing runs any more, if it has any: with the last mount the kernel frees them. */
export async function unmountSecrets(bundle: string): Promise<void> {
  const at = `${bundle}/secrets`;
  if (await access(at).then(() => false, () => true)) return;
  await run('/bin/umount', ['--lazy', at], { timeout: MOUNT_MS }).catch(() => undefined); // not mounted: the launcher that did it is gone
  await rmdir(at).catch(() => undefined); // what is in it by now is not ours to say; the bundle goes as a whole
}

/** The secrets of one sandbox as files. What is renewed is replaced at once, and what is dropped is gone at once. */
export class SecretFiles implements Disposable {
  /** The folder that the sandbox gets. */
  readonly folder: string;
  readonly #next: string;
  readonly #uid: number;
  readonly #sandbox: string;
  readonly #ground: SecretGround;
  /** By lease. */
  readonly #files = new Map<string, Shown>();
  #turn = 0;
  /** When the versions that were let go of take no more room. */
  #emptied: Promise<void> = Promise.resolve();

  constructor({ at, uid, ground, sandbox }: { readonly at: string; readonly uid: number; readonly ground: SecretGround; readonly sandbox: string }) {
    this.folder = `${at}/shown`;
    this.#next = `${at}/next`;
    this.#uid = uid;
    this.#sandbox = sandbox;
    this.#ground = ground;
  }

  async add({ name, lease }: SecretFileSpec): Promise<void> {
    this.#files.set(lease, { name, turn: 0, current: undefined, former: undefined, replacedMs: 0, expiring: undefined });
    await this.renew(lease);
  }

  /**
   * Gives the file the value that the vault has now: a reader sees the whole of the one or of the other. Fails with the file as it was.
   *
   * @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE
   */
  async renew(lease: string): Promise<void> {
    const shown = this.#files.get(lease);
    if (shown === undefined) throw this.#lost(lease);
    const turn = ++this.#turn;
    const { bytes, expiresMs } = await this.#ground.value({ sandbox: this.#sandbox, lease, name: shown.name });
    try {
      await this.#room(shown);
      if (this.#files.get(lease) !== shown) throw this.#lost(lease); // it was dropped meanwhile
      if (turn > shown.turn) this.#replace(shown, bytes, turn);
    } finally {
      bytes.fill(0);
    }
    this.#expire(lease, shown, expiresMs);
  }

  /** Resolves when the version that the next replacement lets go of has had its time, and what was let go of takes no room. */
  async #room(shown: Shown): Promise<void> {
    await this.#emptied;
    for (;;) {
      const leftMs = shown.former === undefined ? 0 : shown.replacedMs + READ_MS - performance.now();
      if (leftMs <= 0) return;
      await delay(leftMs); // another renewal may be the first to replace then
    }
  }

  /** Nothing waits in here: a file that was dropped cannot come back between two of its steps. */
  #replace(shown: Shown, bytes: Buffer, turn: number): void {
    const { name, former } = shown;
    let written: number | undefined;
    try {
      written = createNew({ folder: this.#next, name: `${turn}` });
      fill(written, bytes, this.#uid);
      renameSync(`${this.#next}/${turn}`, `${this.folder}/${name}`);
    } catch (error) {
      unlinkIfThere(`${this.#next}/${turn}`);
      if (written !== undefined) closeSync(written);
      throw new CaissonError('SECRET_UNAVAILABLE', { secret: name, detail: `its file cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'})` });
    }
    shown.former = shown.current;
    shown.current = written;
    shown.replacedMs = performance.now();
    shown.turn = turn;
    if (former !== undefined) this.#letGo(former);
  }

  /** Overwrites a version at once. Its room is given back behind that: the kernel goes through all places where the sandbox has mapped it, which may be millions. */
  #letGo(file: number): void {
    try {
      overwrite(file);
    } finally {
      this.#emptied = this.#emptied.then(() => emptied(file)); // one after the other: a sandbox keeps one thread busy at most
    }
  }

  #expire(lease: string, shown: Shown, expiresMs: number | null): void {
    clearTimeout(shown.expiring);
    if (expiresMs === null || this.#files.get(lease) !== shown) return;
    const leftMs = expiresMs - this.#ground.now();
    if (leftMs <= 0) return this.drop(lease);
    shown.expiring = setTimeout(() => this.#expire(lease, shown, expiresMs), Math.min(leftMs, LOOK_MS)).unref();
  }

  /** Takes a file away. Whoever has it open, also in the version before, reads zeros or nothing from here on. Idempotent. */
  drop(lease: string): void {
    const shown = this.#files.get(lease);
    if (shown === undefined) return;
    this.#files.delete(lease);
    clearTimeout(shown.expiring);
    using all = new DisposableStack(); // each of them whatever becomes of the others
    for (const file of [shown.former, shown.current]) if (file !== undefined) all.defer(() => this.#letGo(file));
    if (shown.current !== undefined) unlinkIfThere(`${this.folder}/${shown.name}`); // the name first, so that nobody opens it between
  }

  #lost(lease: string): CaissonError {
    return new CaissonError('LEASE_NOT_FOUND', { sandbox: this.#sandbox, secret: lease });
  }

  [Symbol.dispose](): void {
    using all = new DisposableStack();
    for (const lease of this.#files.keys()) all.defer(() => this.drop(lease));
  }
}

/** Makes a file that is not there, in a folder that is opened first: no path is looked up twice, and nothing is followed. */
function createNew({ folder, name }: { readonly folder: string; readonly name: string }): number {
  const { O_RDONLY, O_DIRECTORY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
  const directory = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    return openSync(`/proc/self/fd/${directory}/${name}`, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK, MODE);
  } finally {
    closeSync(directory);
  }
}

/** The sandbox's user owns it last, when all is in it. */
function fill(file: number, bytes: Buffer, uid: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
  fchmodSync(file, MODE);
  fchownSync(file, uid, uid);
}

function overwrite(file: number): void {
  const zeros = Buffer.alloc(fstatSync(file).size);
  for (let at = 0; at < zeros.length; ) at += writeSync(file, zeros, at, zeros.length - at, at);
}

/** Gives back the room of a file, whoever has it open, and closes it. Resolves in any case. */
function emptied(file: number): Promise<void> {
  return new Promise((resolve) => {
    ftruncate(file, 0, () => {
      closeSync(file);
      resolve();
    });
  });
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
  }
}

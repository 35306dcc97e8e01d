import { execFile } from 'node:child_process';
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { access, chmod, mkdir, rmdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CaissonError, type IsolationSpec, type SecretFileSpec } from '@caisson/contract';

const run = promisify(execFile);
const MOUNT_MS = 10_000;
const MODE = 0o400;
/** Holds all secrets of a sandbox, and while one is replaced its new content as well. */
const SIZE_BYTES = 1024 * 1024;
/** 32 files, as many on their way, two folders and the root. */
const INODES = 80;
/** Longest that setTimeout waits; beyond it, it would not wait at all. */
const TIMER_MS_MAX = 2 ** 31 - 1;

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
  await mount(`${options},noswap`).catch(() => mount(options));
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

  constructor({ at, uid, ground, sandbox }: { readonly at: string; readonly uid: number; readonly ground: SecretGround; readonly sandbox: string }) {
    this.folder = `${at}/shown`;
    this.#next = `${at}/next`;
    this.#uid = uid;
    this.#sandbox = sandbox;
    this.#ground = ground;
  }

  async add({ name, lease }: SecretFileSpec): Promise<void> {
    this.#files.set(lease, { name, turn: 0, expiring: undefined });
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
      if (this.#files.get(lease) !== shown) throw this.#lost(lease); // it was dropped meanwhile
      if (turn > shown.turn) this.#replace(shown, bytes, turn);
    } finally {
      bytes.fill(0);
    }
    this.#expire(lease, shown, expiresMs);
  }

  /** Nothing waits in here: a file that was dropped cannot come back between two of its steps. */
  #replace(shown: Shown, bytes: Buffer, turn: number): void {
    const { name } = shown;
    try {
      writeNew({ folder: this.#next, name: `${turn}`, bytes, uid: this.#uid });
      renameSync(`${this.#next}/${turn}`, `${this.folder}/${name}`);
    } catch (error) {
      unlinkIfThere(`${this.#next}/${turn}`);
      throw new CaissonError('SECRET_UNAVAILABLE', { secret: name, detail: `its file cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'})` });
    }
    shown.turn = turn;
  }

  #expire(lease: string, shown: Shown, expiresMs: number | null): void {
    clearTimeout(shown.expiring);
    if (expiresMs === null || this.#files.get(lease) !== shown) return;
    const leftMs = expiresMs - this.#ground.now();
    if (leftMs <= 0) return this.drop(lease);
    shown.expiring = setTimeout(() => this.#expire(lease, shown, expiresMs), Math.min(leftMs, TIMER_MS_MAX)).unref();
  }

  /** Takes a file away. Whoever has it open reads zeros from here on. Idempotent. */
  drop(lease: string): void {
    const shown = this.#files.get(lease);
    if (shown === undefined) return;
    this.#files.delete(lease);
    clearTimeout(shown.expiring);
    removeFile(`${this.folder}/${shown.name}`);
  }

  #lost(lease: string): CaissonError {
    return new CaissonError('LEASE_NOT_FOUND', { sandbox: this.#sandbox, secret: lease });
  }

  [Symbol.dispose](): void {
    for (const lease of this.#files.keys()) this.drop(lease);
  }
}

/** Writes a file that is not there, in a folder that is opened first: no path is looked up twice, and nothing is followed. */
function writeNew({ folder, name, bytes, uid }: { readonly folder: string; readonly name: string; readonly bytes: Buffer; readonly uid: number }): void {
  const { O_RDONLY, O_DIRECTORY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const directory = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const file = openSync(`/proc/self/fd/${directory}/${name}`, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      fchmodSync(file, MODE);
      fchownSync(file, uid, uid);
    } finally {
      closeSync(file);
    }
  } finally {
    closeSync(directory);
  }
}

/** The name first, so that nobody opens it between; then the content, for those who have it open. */
function removeFile(path: string): void {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  } catch {
    // it was never written
  }
  unlinkIfThere(path);
  if (file === undefined) return;
  try {
    const zeros = Buffer.alloc(fstatSync(file).size);
    writeSync(file, zeros, 0, zeros.length, 0);
  } finally {
    closeSync(file);
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
  }
}

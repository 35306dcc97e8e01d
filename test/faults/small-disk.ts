import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const MIB = 1024 * 1024;

/** A file system of its own at a place, with a file on it that stands for whatever else fills disks. */
export interface SmallDisk extends Disposable {
  /** Where the file that holds it is. */
  readonly image: string;
  readonly device: string;
  /** Takes all that is free, but for these bytes. */
  fill(leaveBytes?: number): void;
  /** Takes all free inodes. */
  fillInodes(): void;
  /** Gives everything back. */
  empty(): void;
  /** Mounts it anew with an option, such as `ro`; whether that was possible. */
  remount(option: string): boolean;
  unmount(): void;
}

/** An ext4 of its own at `place`, until it is disposed of. @throws Error where loop devices or mounts are missing */
export function smallDisk(place: string, { mib = 16, inodes = 512 }: { readonly mib?: number; readonly inodes?: number } = {}): SmallDisk {
  const folder = mkdtempSync(`${tmpdir()}/caisson-disk-`);
  const image = `${folder}/image`;
  writeFileSync(image, '');
  truncateSync(image, mib * MIB);
  const opened = new DisposableStack();
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  run(['mkfs.ext4', '-q', '-F', '-m', '0', '-N', String(inodes), '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
  const device = run(['losetup', '--find', '--show', image]).trim();
  opened.defer(() => void spawnSync('losetup', ['-d', device]));
  mkdirSync(place, { recursive: true });
  run(['mount', device, place]);
  opened.defer(unmount);
  rmSync(`${place}/lost+found`, { recursive: true });
  const filler = `${place}/filler`;

  function fill(leaveBytes = 0): void {
    const file = openSync(filler, 'a');
    try {
      for (let bytes = MIB; bytes >= 512; ) if (!takes(file, bytes)) bytes /= 2;
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (leaveBytes > 0) truncateSync(filler, Math.max(0, readFileSync(filler).length - leaveBytes));
  }

  function fillInodes(): void {
    mkdirSync(`${place}/inodes`, { recursive: true });
    assert.throws(() => {
      for (let at = 0; ; at++) writeFileSync(`${place}/inodes/${at}`, '', { flag: 'wx' });
    }, { code: 'ENOSPC' });
  }

  function empty(): void {
    for (const name of ['filler', 'inodes']) rmSync(`${place}/${name}`, { recursive: true, force: true });
  }

  /** Whoever began in a mount namespace of its own may have it too; it goes there with this one. */
  function unmount(): void {
    spawnSync('umount', [place]);
  }

  return { image, device, fill, fillInodes, empty, remount: (option) => spawnSync('mount', ['-o', `remount,${option}`, place]).status === 0, unmount, [Symbol.dispose]: () => opened.dispose() };
}

function takes(file: number, bytes: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(bytes, 1)) === bytes;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    return false;
  }
}

function run([program = '', ...args]: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Why no file system can be mounted here; false: one can. */
export function noSmallDisk(): string | false {
  const place = mkdtempSync(`${tmpdir()}/caisson-disk-`);
  try {
    smallDisk(place, { mib: 4 })[Symbol.dispose]();
    return false;
  } catch {
    return 'no file system of its own can be made here: this needs root, loop devices and e2fsprogs';
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** Waits for what must come true. */
export async function until(what: string, isTrue: () => Promise<boolean> | boolean, patienceMs = 20_000): Promise<void> {
  for (const untilMs = Date.now() + patienceMs; !(await isTrue()); await delay(25)) assert.ok(Date.now() < untilMs, `not within ${patienceMs} ms: ${what}`);
}

export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, networkInterfaces, tmpdir } from 'node:os';
import { basename } from 'node:path';
import { CaissonError } from '@caisson/contract/errors';
import { survivorsWith } from './survivors.ts';

/** What the attacks are aimed at on the host: canary files, listeners, a process. It is there until disposed of. */
export interface Stage extends AsyncDisposable {
  /** Parameters of an attack from inside a sandbox. */
  readonly inside: readonly string[];
  /** Parameters of the same attack outside: on the stage's own process, directory and loopback addresses only. */
  readonly outside: readonly string[];
  /** Attacks that are still running on this host. */
  survivors(): readonly number[];
}

interface Ports {
  readonly tcp: number;
  readonly tcp6: number;
  readonly udp: number;
}

const VICTIM_READY_MS = 5000;

/**
 * @param options.kernel release of the host's kernel
 * @throws CaissonError INTERNAL when the victim does not start
 */
export async function openStage({ probePath, kernel }: { readonly probePath: string; readonly kernel: string }): Promise<Stage> {
  const token = `caisson-canary-${randomBytes(8).toString('hex')}`;
  await using undo = new AsyncDisposableStack();
  const directory = makeDirectory();
  undo.defer(() => rmSync(directory, { recursive: true, force: true }));
  const canaries = placeCanaries(token, directory, undo);
  const unix = `${directory}/listener`;
  const { child, ports } = await startVictim(probePath, [`token=${token}`, `unix=${unix}`, `abstract=${token}`]);
  undo.defer(() => endVictim(child));
  const shared = [`token=${token}`, `unix=${unix}`, `abstract=${token}`, `kernel=${kernel}`, ...canaries];
  const inside = [...shared, ...addressLists(ports, hostAddresses()), 'inside=yes'];
  const own = [`target=${child.pid ?? 0}`, `dir=${directory}`, `from=${directory}`, 'stage=yes'];
  const outside = [...shared, ...addressLists(ports, ['127.0.0.1', '::1']), ...own];
  const kept = undo.move();
  return {
    inside,
    outside,
    survivors: () => survivorsWith(`token=${token}`).filter((pid) => pid !== child.pid),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Beside /usr, on most hosts, so that a hard link between the two is possible. */
function makeDirectory(): string {
  try {
    return mkdtempSync('/var/tmp/caisson-doctor-');
  } catch {
    return mkdtempSync(`${tmpdir()}/caisson-doctor-`);
  }
}

/** Everybody may read a canary: only the walls keep it. Where none can be placed its attack has no target and stays unproven. */
function placeCanaries(token: string, directory: string, undo: AsyncDisposableStack): readonly string[] {
  const places = { 'root-canary': homedir(), 'home-canary': '/home', 'tmp-canary': '/tmp' };
  const placed = Object.entries(places).flatMap(([name, folder]) => {
    const path = `${folder}/.${token}`;
    try {
      writeFileSync(path, `${token}\n`, { flag: 'wx', mode: 0o644 });
    } catch {
      return [];
    }
    undo.defer(() => rmSync(path, { force: true }));
    return [{ name, path }];
  });
  const [first] = placed;
  if (first !== undefined) copyFileSync(first.path, `${directory}/${basename(first.path)}`);
  return placed.map(({ name, path }) => `${name}=${path}`);
}

/** Starts a process to attack; it ends when its stdin does, so it does not outlive the doctor. */
export async function startVictim(probePath: string, parameters: readonly string[]): Promise<{ readonly child: ChildProcess; readonly ports: Ports }> {
  const child = spawn(probePath, ['victim', ...parameters], { stdio: ['pipe', 'pipe', 'ignore'], cwd: '/' });
  try {
    const signal = AbortSignal.timeout(VICTIM_READY_MS);
    child.on('error', () => undefined);
    const [line] = (await once(child.stdout, 'data', { signal })) as [Buffer];
    return { child, ports: JSON.parse(line.toString()) as Ports };
  } catch (cause) {
    child.kill('SIGKILL');
    throw new CaissonError('INTERNAL', { detail: `${probePath} victim did not start` }, { cause });
  }
}

export async function endVictim(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function hostAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return [...new Set(['127.0.0.1', '::1', ...all.map(({ address }) => address)])].filter((address) => !address.startsWith('fe80:'));
}

function addressLists(ports: Ports, addresses: readonly string[]): readonly string[] {
  const v4 = addresses.filter((address) => !address.includes(':'));
  const v6 = addresses.filter((address) => address.includes(':'));
  return [
    ...(ports.tcp === 0 ? [] : [`tcp=${v4.map((address) => `${address}:${ports.tcp}`).join(',')}`]),
    ...(ports.tcp6 === 0 ? [] : [`tcp6=${v6.map((address) => `[${address}]:${ports.tcp6}`).join(',')}`]),
    ...(ports.udp === 0 ? [] : [`udp=${v4.map((address) => `${address}:${ports.udp}`).join(',')}`]),
  ];
}

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, closeSync, constants, globSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { read } from './given.ts';

const READY_MS = 30_000;
const STOP_MS = 15_000;
/** Not the host's own daemon, whatever that one is told. */
const OWN = ['--iptables=false', '--ip6tables=false', '--bridge=none', '--ip-forward=false', '--ip-masq=false', '--exec-opt', 'native.cgroupdriver=cgroupfs'];
const REMAPPED = ['--userns-remap=default'];

/** A Docker daemon of the tests' own, with all that is its in one folder. */
export interface Dockerd extends AsyncDisposable {
  readonly folder: string;
  readonly socket: string;
  /** Ends the daemon without a word, and the containerd that it started. Sandboxes go on. */
  kill(): Promise<void>;
  /** Starts it again where it was killed. */
  restart(): Promise<void>;
}

export function findDockerd(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, 'dockerd')).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error with the last line of its log when it does not start */
export async function startDockerd(program: string, { remapped = true }: { readonly remapped?: boolean } = {}): Promise<Dockerd> {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-dockerd-'));
  chmodSync(folder, 0o711); // the mapped root passes through it
  const at = (name: string): string => join(folder, name);
  const socket = at('docker.sock');
  mkdirSync(at('data'));
  writeFileSync(at('daemon.json'), '{}');
  const places = ['--config-file', at('daemon.json'), '--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('dockerd.pid'), '-H', `unix://${socket}`];
  const start = (): Promise<Running> => startProgram([program, ...places, ...OWN, ...(remapped ? REMAPPED : [])], at('log'), socket);
  let running = await start().catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  return {
    folder, socket,
    async kill() {
      const containerd = Number(read(at('exec/containerd/containerd.pid')));
      await running.end('SIGKILL');
      await gone(containerd); // it ends with its daemon
      rmSync(at('dockerd.pid'), { force: true });
    },
    async restart() {
      running = await start();
    },
    async [Symbol.asyncDispose]() {
      await running.end('SIGTERM');
      // A daemon that was killed and started again has its folder mounted twice, and takes back one of the two.
      for (const mount of mountsBelow(folder, '/proc/self/mountinfo').toReversed()) spawnSync('umount', [mount.split(' ')[4] ?? '']);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Running {
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/** The daemon ends with whoever started it, on every path: the kernel tells it. */
async function startProgram(argv: readonly string[], log: string, socket: string): Promise<Running> {
  const fd = openSync(log, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...argv], { stdio: ['ignore', fd, fd], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  closeSync(fd);
  const ended = new Promise<void>((done) => child.once('close', () => done()));
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(late);
  };
  for (const until = Date.now() + READY_MS; child.exitCode === null && Date.now() < until; await delay(100)) {
    if (await answers(socket)) return { end };
  }
  await end('SIGKILL');
  throw new Error(`dockerd does not start here: ${read(log).trimEnd().split('\n').at(-1) ?? ''}`);
}

function answers(socket: string): Promise<boolean> {
  return new Promise((done) => {
    const asking = connect(socket, () => asking.write('GET /_ping HTTP/1.0\r\n\r\n'));
    asking.once('data', (bytes) => {
      asking.destroy();
      done(/ 200 /.test(bytes.toString('latin1')));
    });
    asking.once('error', () => done(false));
    asking.setTimeout(2_000, () => {
      asking.destroy();
      done(false);
    });
  });
}

async function gone(pid: number): Promise<void> {
  for (const until = Date.now() + STOP_MS; pid > 0 && read(`/proc/${pid}/stat`) !== ''; await delay(20)) {
    if (Date.now() > until) throw new Error(`process ${pid} goes on`);
  }
}

function mountsBelow(folder: string, file: string): string[] {
  return readFileSync(file, 'utf8').split('\n').filter((line) => line.split(' ')[4]?.startsWith(`${folder}/`) === true);
}

/** What a daemon still holds: containers, volumes, and what it has mounted for them, network namespaces too. */
export function leftInDockerd(folder: string): string[] {
  const mounts = ['/proc/1/mountinfo', '/proc/self/mountinfo'].flatMap((file) => mountsBelow(folder, file)).filter((line) => /\/(volumes|merged|containers)\b|\/netns\/[0-9a-f]/.test(line));
  return [...globSync(`${folder}/data/*/volumes/*/`), ...globSync(`${folder}/data/*/containers/*`), ...mounts];
}

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram, which, type Ground, type OpenPeer, type Peer } from './peer.ts';

const READY_MS = 20_000;
const STOP_MS = 15_000;
const IMAGE = 'caisson-bench';

/** Docker, by a daemon of our own: its data, state and socket are in scratch, and it touches no network. */
export const DOCKER: Peer = { name: 'docker', open: openDocker };

async function openDocker(ground: Ground): Promise<OpenPeer | string> {
  const [daemon, client] = [await which('dockerd'), await which('docker')];
  if (daemon === undefined || client === undefined) return 'docker is not here: apt-get install docker.io';
  if (process.getuid?.() !== 0) return 'docker is measured as root only';
  const { scratch, rootfs } = ground;
  const docker = [client, '-H', `unix://${join(scratch, 'docker.sock')}`];
  const log = join(scratch, 'dockerd.log');
  const dockerd = await startDaemon(daemon, scratch, log);
  const close = (): Promise<void> => stopDaemon(dockerd);

  try {
    if (!(await answers(docker, dockerd))) return await refuse(close, `dockerd does not start here: ${lastLine(log)}`);
    const image = join(scratch, 'image.tar');
    const name = `hold-${process.pid}`;
    const steps = [
      ['tar', '-C', rootfs, '-cf', image, '.'],
      [...docker, 'import', image, IMAGE],
      [...docker, 'run', '--detach', '--network', 'none', '--name', name, IMAGE, '/true', 'hold'],
    ];
    for (const step of steps) {
      const { status, stderr } = await runProgram(step);
      if (status !== 0) return await refuse(close, `docker does not run here: ${stderr.trim()}`);
    }
    return {
      run: [...docker, 'run', '--rm', '--network', 'none', IMAGE, '/true'],
      exec: [...docker, 'exec', name, '/true'],
      async [Symbol.asyncDispose]() {
        await runProgram([...docker, 'rm', '--force', name]);
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function refuse(close: () => Promise<void>, reason: string): Promise<string> {
  await close();
  return reason;
}

async function startDaemon(daemon: string, scratch: string, log: string): Promise<ChildProcess> {
  const at = (name: string): string => join(scratch, name);
  await mkdir(at('data'), { recursive: true });
  await writeFile(at('daemon.json'), '{}');
  const args = [
    '--config-file', at('daemon.json'), '--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('dockerd.pid'),
    '-H', `unix://${at('docker.sock')}`, '--iptables=false', '--ip6tables=false', '--bridge=none', '--ip-forward=false',
  ];
  const fd = openSync(log, 'a');
  try {
    const env = { ...process.env, PATH: `${dirname(daemon)}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
    return spawn(daemon, args, { env, stdio: ['pipe', fd, fd] }).on('error', () => undefined);
  } finally {
    closeSync(fd);
  }
}

async function answers(docker: readonly string[], dockerd: ChildProcess): Promise<boolean> {
  const deadline = performance.now() + READY_MS;
  while (performance.now() < deadline && dockerd.exitCode === null && dockerd.signalCode === null) {
    if ((await runProgram([...docker, 'version'])).status === 0) return true;
    await sleep(200);
  }
  return false;
}

async function stopDaemon(dockerd: ChildProcess): Promise<void> {
  if (dockerd.exitCode !== null || dockerd.signalCode !== null || dockerd.pid === undefined) return;
  const ended = once(dockerd, 'exit');
  dockerd.kill('SIGTERM');
  const timer = setTimeout(() => dockerd.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

function lastLine(path: string): string {
  return readFileSync(path, 'utf8').trimEnd().split('\n').at(-1) ?? 'it wrote nothing';
}

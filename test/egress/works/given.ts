import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { statePaths, type EgressRule, type Level } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { HOME } from '../../harness.ts';
import { openInternet, type Internet } from '../internet/internet.ts';
import { endHeld, startHeld } from '../internet/namespaces.ts';
import { PORTS } from './ports.ts';
import { makeSites } from './sites.ts';

/** What a sandbox may reach: names alone, each of an address of its own. */
const RULES: readonly EgressRule[] = [
  ...['web', 'git', 'pypi', 'npm'].map((name) => ({ host: `${name}.example.test` })),
  { host: 'web.example.test', port: 80 }, { host: 'web.example.test', port: 8443, protocol: 'tls' },
  { host: 'ws.example.test', port: PORTS.webSocket, protocol: 'http' },
  { host: 'db.example.test', port: PORTS.postgres }, { host: 'ssh.example.test', port: PORTS.ssh },
  ...[PORTS.digest, PORTS.blob, PORTS.serverFirst, PORTS.echo].map((port) => ({ host: 'tcp.example.test', port })),
];
const READY_MS = 30_000;
const SSHD = '/usr/sbin/sshd';
const POSTGRES = globSync('/usr/lib/postgresql/*/bin')[0];

export const missing = {
  sshd: globSync(SSHD).length === 0 ? 'needs openssh-server: apt-get install openssh-server' : false,
  postgres: POSTGRES === undefined ? 'needs PostgreSQL: apt-get install postgresql' : false,
  gitBackend: globSync('/usr/lib/git-core/git-http-backend').length === 0 ? 'needs git-http-backend: apt-get install git' : false,
} as const;

/** Why a program is not in image `host`, which has the host's /usr; false: it is there. */
export const noProgram = (path: string): string | false => (globSync(`/usr/${path}`).length === 0 ? `needs /usr/${path}, which image host takes from the host` : false);

export interface Works extends AsyncDisposable {
  readonly net: Internet;
  readonly dir: string;
  readonly blobSha256: string;
  /** What came to the server that ends first, once its client has ended. */
  readonly saidToServerFirst: () => Promise<string>;
  /** The sandbox of a level, made when it is first asked for, with `ca.pem` and `clients.py` in its workspace; null: the level is not delivered here. */
  box(level: Level): Promise<Sandbox | null>;
}

/** A fake Internet with servers of the test in it, and a Caisson that has it for its network. */
export async function openWorks(): Promise<Works> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(`${tmpdir()}/caisson-works-`);
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const net = stack.use(await openInternet({ ownPorts: Object.values(PORTS) }));
  const names = new Set(RULES.map(({ host }) => host));
  for (const [at, name] of [...names].entries()) await net.zone.set(name, { addresses: [`51.15.1.${at + 1}`] });

  const { blobSha256 } = makeSites(dir);
  const servers = startHeld(net.inInternet([process.execPath, '--disable-warning=ExperimentalWarning', `${import.meta.dirname}/server.ts`, dirname(net.caFile), dir]));
  stack.defer(() => endHeld(servers));
  const lines = createInterface({ input: servers.stdout ?? process.stdin });
  await once(lines, 'line', { signal: AbortSignal.timeout(READY_MS) });
  const said = lines[Symbol.asyncIterator]();

  const env = { ...process.env, CAISSON_DIR: `${dir}/caisson` };
  const caisson = (...argv: string[]): Promise<unknown> => {
    const [program = '', ...rest] = net.inHost([`${HOME}/caisson`, ...argv]);
    return promisify(execFile)(program, rest, { env, timeout: 60_000 });
  };
  await caisson('up', '--detach');
  stack.defer(async () => void (await caisson('down')));
  const connection = { socket: statePaths({ env, uid: 0, resolve }).apiSocket };
  const boxes = new Map<Level, Promise<Sandbox | null>>();
  const make = async (level: Level): Promise<Sandbox | null> => {
    const limits = { memoryBytes: 1 << 30, pids: 200 };
    const box = await Sandbox.create({ level, limits, network: { rules: RULES }, keepAlive: true }, { connection }).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'LEVEL_UNAVAILABLE') return null;
      throw error;
    });
    await box?.files.write('ca.pem', net.caPem);
    await box?.files.write('clients.py', readFileSync(`${import.meta.dirname}/clients.py`));
    return box;
  };
  const owned = stack.move();
  return {
    net, dir, blobSha256,
    saidToServerFirst: async () => JSON.parse((await said.next()).value as string) as string,
    box(level) {
      const box = boxes.get(level) ?? make(level);
      boxes.set(level, box);
      return box;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A program of the test in the fake Internet, until the end of the block. */
async function running({ net }: Works, argv: readonly string[], port: number): Promise<AsyncDisposable> {
  const [program = '', ...args] = net.inInternet(argv);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr = `${stderr}${chunk.toString()}`.slice(-4_096)));
  const end = async (): Promise<void> => {
    if (hasEnded(child)) return;
    const ended = once(child, 'exit');
    child.kill('SIGINT'); // of PostgreSQL: now, and not when its clients are done
    const timer = setTimeout(() => child.kill('SIGKILL'), READY_MS);
    await ended;
    clearTimeout(timer);
  };
  for (const until = performance.now() + READY_MS; !isListening(net, port); await delay(50)) {
    if (!hasEnded(child) && performance.now() < until) continue;
    await end();
    throw new Error(`${argv.join(' ')} does not listen: ${stderr}`);
  }
  return { [Symbol.asyncDispose]: end };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

function isListening(net: Internet, port: number): boolean {
  const [program = '', ...args] = net.inInternet(['cat', '/proc/self/net/tcp']);
  const at = `:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  return execFileSync(program, args, { encoding: 'utf8' }).includes(at);
}

export const PASSWORD = randomBytes(12).toString('hex');

/** A PostgreSQL of the test's own, with user `works` and a password that it checks (SCRAM). */
export function startPostgres(works: Works): Promise<AsyncDisposable> {
  const data = `${works.dir}/postgres`;
  const idOf = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const [uid, gid] = [idOf('-u'), idOf('-g')];
  const asPostgres = ['--reuid=postgres', '--regid=postgres', '--clear-groups'];
  mkdirSync(data);
  writeFileSync(`${data}/password`, PASSWORD, { mode: 0o644 });
  chownSync(data, uid, gid);
  chownSync(`${data}/password`, uid, gid);
  execFileSync('chmod', ['711', works.dir]);
  const initdb = [`${POSTGRES}/initdb`, '--no-sync', '--username=works', '--auth=scram-sha-256', `--pwfile=${data}/password`, `${data}/db`];
  execFileSync('setpriv', [...asPostgres, ...initdb], { stdio: 'pipe', cwd: '/' });
  writeFileSync(`${data}/db/pg_hba.conf`, 'host all all all scram-sha-256\n', { flag: 'a' });
  return running(works, ['setpriv', ...asPostgres, `${POSTGRES}/postgres`, '-D', `${data}/db`, '-F', '-c', 'listen_addresses=0.0.0.0', '-c', `unix_socket_directories=${data}`], PORTS.postgres);
}

export interface Ssh extends AsyncDisposable {
  /** Private key of the one who may log in. */
  readonly key: string;
  /** What a client that knows the server already has in its known_hosts. */
  readonly knownHosts: string;
}

/** An sshd whose one key may run `sha256sum`, and nothing else. */
export async function startSshd(works: Works): Promise<Ssh> {
  const dir = `${works.dir}/ssh`;
  mkdirSync(dir);
  mkdirSync('/run/sshd', { recursive: true }); // where it confines itself; its service would have made it
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${dir}/${name}`]);
  const read = (name: string): string => readFileSync(`${dir}/${name}`, 'utf8');
  writeFileSync(`${dir}/authorized_keys`, `restrict,command="sha256sum" ${read('user.pub')}`);
  writeFileSync(`${dir}/sshd_config`, [
    `Port ${PORTS.ssh}`, 'ListenAddress 0.0.0.0', `HostKey ${dir}/host`, `AuthorizedKeysFile ${dir}/authorized_keys`, `PidFile ${dir}/pid`,
    'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'PermitRootLogin prohibit-password', 'StrictModes no', 'UsePAM no', 'UseDNS no', '',
  ].join('\n'));
  const server = await running(works, [SSHD, '-D', '-e', '-f', `${dir}/sshd_config`], PORTS.ssh);
  return { key: read('user'), knownHosts: `ssh.example.test ${read('host.pub')}`, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

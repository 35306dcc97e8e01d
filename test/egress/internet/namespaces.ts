import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const PREFIX = 'caisson-internet-';
const STOP_MS = 30_000;
/** Addresses of the link. They are nobody's in these tests, and of no range that a gate refuses. */
const LINK = { interface: 'net0', internet4: '81.2.69.160', host4: '81.2.69.161', internet6: '2a01:4f8:c0c::1', host6: '2a01:4f8:c0c::2' } as const;
const MAC = { internet: '02:00:00:00:00:01', host: '02:00:00:00:00:02' } as const;
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** A folder of this process's own. Its name says whose it is, and mounts of files in it mark what runs in `host`. */
export const ownFolder = (): string => mkdtempSync(`${tmpdir()}/${PREFIX}${process.pid}-`);

/** Starts a program that lives until its stdin ends: the kernel ends it with whoever started it. */
export function startHeld(argv: readonly string[]): ChildProcess {
  const [program = '', ...args] = argv;
  return spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, PATH } });
}

/** A process in network and mount namespaces of its own, holding them. `cat`'s echo shows that it is inside. */
export async function holdNamespaces(): Promise<ChildProcess> {
  const holder = startHeld(['unshare', '--net', '--mount', '--propagation', 'private', 'cat']);
  holder.stdin?.write('\n');
  await Promise.race([once(holder.stdout ?? holder, 'data'), failed(holder, 'unshare')]);
  return holder;
}

/** Rejects when a child ends. */
export async function failed(child: ChildProcess, what: string): Promise<never> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  throw new Error(`${what} ended with ${child.exitCode ?? child.signalCode ?? 'nothing'}`);
}

export async function endHeld(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

export const netns = (pid: number): string => `/proc/${pid}/ns/net`;

function inNet(pid: number, argv: readonly string[], input = ''): void {
  execFileSync('nsenter', [`--net=${netns(pid)}`, '--', ...argv], { input, stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, PATH } });
}

/** Joins the two: `host` has one way out, into `internet`, and there every address is local. */
export function join(pids: { readonly host: number; readonly internet: number }, { port, ownPorts }: { readonly port: number; readonly ownPorts: readonly number[] }): void {
  const { interface: link, host4, host6, internet4, internet6 } = LINK;
  const end = (name: 'host' | 'internet'): string[] => ['name', link, 'address', MAC[name], 'netns', `${pids[name]}`];
  execFileSync('ip', ['link', 'add', ...end('host'), 'type', 'veth', 'peer', ...end('internet')], { stdio: 'pipe', env: { ...process.env, PATH } });
  const up = [
    'link set lo up',
    `link set ${link} addrgenmode none`, // no address of its own, hence no packet that nobody sent
    `link set ${link} up`,
  ];
  for (const pid of Object.values(pids)) inNet(pid, ['tee', '/proc/sys/net/ipv6/conf/all/disable_ipv6'], '0');
  inNet(pids.internet, ['ip', '-batch', '-'], [
    ...up,
    `address add ${internet4}/31 dev ${link}`,
    `address add ${internet6}/126 dev ${link} nodad`,
    `neighbour replace ${host4} lladdr ${MAC.host} dev ${link} nud permanent`,
    `neighbour replace ${host6} lladdr ${MAC.host} dev ${link} nud permanent`,
    // In the main table, so that the way back to `host` is the longer prefix.
    'route add local 0.0.0.0/0 dev lo table main',
    'route add local ::/0 dev lo table main',
  ].join('\n'));
  inNet(pids.internet, ['nft', '-f', '-'], rules(port, ownPorts));
  inNet(pids.host, ['ip', '-batch', '-'], [
    ...up,
    `address add ${host4}/31 dev ${link}`,
    `address add ${host6}/126 dev ${link} nodad`,
    `neighbour replace ${internet4} lladdr ${MAC.internet} dev ${link} nud permanent`,
    `neighbour replace ${internet6} lladdr ${MAC.internet} dev ${link} nud permanent`,
    `route add default via ${internet4} dev ${link}`,
    `route add default via ${internet6} dev ${link}`,
  ].join('\n'));
}

/** Hands every TCP connection and UDP datagram, of any address and port, to the transparent sockets; nothing is rewritten. */
function rules(port: number, ownPorts: readonly number[]): string {
  return `table inet internet {
    chain arriving {
      type filter hook prerouting priority mangle; policy accept;
      iifname != "${LINK.interface}" accept
      ${ownPorts.length === 0 ? '' : `meta l4proto tcp th dport { ${ownPorts.join(', ')} } accept`}
      meta nfproto ipv4 meta l4proto { tcp, udp } tproxy ip to :${port} accept
      meta nfproto ipv6 meta l4proto { tcp, udp } tproxy ip6 to :${port} accept
    }
  }\n`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Processes in whose mount namespace a file of this folder is mounted: those started in `host`, and what they started. */
function processesOf(folder: string, except: readonly number[]): readonly number[] {
  const mark = `/${folder.split('/').at(-1) ?? ''}/`;
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => !except.includes(pid) && read(`/proc/${pid}/mountinfo`).includes(mark));
}

const parentOf = (pid: number): number => Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);

/** Ends what still runs in a `host`: first by asking, and children after their parents, who may have a way of ending them. */
export async function endProcessesOf(folder: string, except: readonly number[]): Promise<void> {
  const started = performance.now();
  for (let left = processesOf(folder, except), asked = new Set<number>(); left.length > 0; left = processesOf(folder, except)) {
    const isLate = performance.now() - started > STOP_MS;
    const roots = left.filter((pid) => !left.includes(parentOf(pid)));
    for (const pid of isLate ? left : roots) {
      if (isLate || !asked.has(pid)) signal(pid, isLate ? 'SIGKILL' : 'SIGTERM');
      asked.add(pid);
    }
    if (performance.now() - started > 2 * STOP_MS) throw new Error(`processes ${left.join(', ')} in ${folder} do not end`);
    await delay(20);
  }
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL' | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Removes what tests that were killed left behind. The namespaces themselves end with the last process in them. */
export async function sweepDead(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((each) => each.startsWith(PREFIX))) {
    const owner = Number(name.slice(PREFIX.length).split('-')[0]);
    if (!Number.isInteger(owner) || signal(owner, 0)) continue;
    await endProcessesOf(`${tmpdir()}/${name}`, []);
    rmSync(`${tmpdir()}/${name}`, { recursive: true, force: true });
  }
}

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The name of the server, and the addresses of the ground: public ones, which a gate does not refuse. */
export const NAME = 'far.example.test';
export const FAR = '51.15.1.1';
export const HOST = '81.2.70.0';
const NEAR = '81.2.70.1';
const LINK = { host: '81.2.69.161', far: '81.2.69.160' } as const;
const READY_MS = 30_000;
const STOP_MS = 10_000;
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/**
 * Three network namespaces in a row, each joined to the next by a link:
 *
 *     near               host                                   far
 *     a client   ----    a Caisson, or who hands on   ----      servers, and the DNS that names them
 *
 * A client in `near` and one in a sandbox of `host` are equally far from the servers.
 */
export interface Ground extends AsyncDisposable {
  /** The argv that runs a program in one of them. */
  inside(place: Place, argv: readonly string[]): readonly string[];
  /** Starts a program that says a line when it is ready, and runs until the ground is closed. */
  start(place: Place, argv: readonly string[]): Promise<void>;
}

export type Place = 'near' | 'host' | 'far';

/** @throws Error where namespaces cannot be made */
export async function openGround(): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), 'caisson-ground-'));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  // `cat` says what it is told once it is inside, and holds the namespaces while it runs.
  const hold = async (): Promise<number> => (await started(stack, ['unshare', '--net', '--mount', '--propagation', 'private', 'cat'])).pid ?? 0;
  const pids: Record<Place, number> = { near: await hold(), host: await hold(), far: await hold() };
  const inside: Ground['inside'] = (place, argv) => ['nsenter', `--net=/proc/${pids[place]}/ns/net`, `--mount=/proc/${pids[place]}/ns/mnt`, '--', 'env', '-C', process.cwd(), ...argv];
  const run = (place: Place, argv: readonly string[], input = ''): void => {
    const [program = '', ...args] = inside(place, argv);
    execFileSync(program, args, { input, stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, PATH } });
  };

  writeFileSync(`${dir}/resolv.conf`, `nameserver ${LINK.far}\n`, { mode: 0o644 });
  run('host', ['mount', '--bind', `${dir}/resolv.conf`, '/etc/resolv.conf']);
  for (const [left, right, of] of [['near', 'host', 'link0'], ['host', 'far', 'link1']] as const) run(left, ['ip', 'link', 'add', of, 'type', 'veth', 'peer', 'name', of, 'netns', `${pids[right]}`]);
  const batch = (place: Place, lines: readonly string[]): void => run(place, ['ip', '-batch', '-'], ['link set lo up', ...lines].join('\n'));
  batch('near', ['link set link0 up', `address add ${NEAR}/31 dev link0`, `route add default via ${HOST}`]);
  batch('host', ['link set link0 up', 'link set link1 up', `address add ${HOST}/31 dev link0`, `address add ${LINK.host}/31 dev link1`, `route add default via ${LINK.far}`]);
  batch('far', ['link set link1 up', `address add ${LINK.far}/31 dev link1`, `address add ${FAR}/32 dev lo`, `route add default via ${LINK.host}`]);
  run('host', ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  await started(stack, inside('far', ['python3', `${import.meta.dirname}/far.py`, 'dns', '53', FAR]));
  const owned = stack.move();
  return {
    inside,
    async start(place, argv) {
      await started(owned, inside(place, argv));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A program that says something once it is there, until what owns it is closed. */
async function started(owner: AsyncDisposableStack, [program = '', ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, PATH } });
  owner.defer(() => ended(child));
  child.stdin.write('\n');
  const failed = once(child, 'exit').then(() => Promise.reject(new Error(`${program} ${args.join(' ')} ended`)));
  await Promise.race([once(child.stdout, 'data', { signal: AbortSignal.timeout(READY_MS) }), failed]);
  failed.catch(() => undefined);
  return child;
}

/** Programs here have nothing to tidy up. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await gone;
  clearTimeout(timer);
}

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { statePaths, type EgressRule, type Level, type Policy, type StatePaths, type SupervisorStatus } from '@caisson/contract';
import { Caller } from '@caisson/wire';
import { endOf, type Said } from '../cli/given.ts';
import { childrenOf, HOME } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';
import { openInternet, type Internet, type InternetOptions } from './internet/internet.ts';
import { recordOf, type Recorded } from './record.ts';

const MAIN = `${HOME}/apps/cli/src/main.ts`;
const READY_MS = 15_000;
/** A socket that is to reach the gate has the address of the link. */
const ADDRESS = "import socket; s = socket.create_connection(('198.18.0.1', 1080), 5); print(s.getsockname()[0])";

/** A sandbox that stays. */
export interface Box extends Recorded, AsyncDisposable {
  readonly id: string;
  readonly level: Level;
  /** What a command in it says; it may fail. */
  exec(argv: readonly string[]): Promise<Said>;
  /** The lines that a Python program in it prints. @throws AssertionError when the program fails */
  python(program: string, ...args: readonly string[]): Promise<readonly string[]>;
}

/** One fake Internet with one whole Caisson in its `host`. */
export interface Scene extends AsyncDisposable {
  readonly net: Internet;
  readonly paths: StatePaths;
  caisson(args: readonly string[]): Promise<Said>;
  /** @param rules none: a sandbox with a link and nothing that it may reach */
  open(options: { readonly level: Level; readonly rules?: readonly (string | EgressRule)[]; readonly secrets?: readonly string[]; readonly pids?: number }): Promise<Box>;
  /** State of this Caisson. */
  readonly dir: string;
  pidOf(role: 'gate' | 'control' | 'launcher' | 'scribe' | 'vault' | 'gate namespace'): Promise<number>;
  /** Argv that runs a program as root of this host in the network namespace of a sandbox: what a broken kernel could do. */
  inLink(box: Box, argv: readonly string[]): Promise<readonly string[]>;
  addressOf(box: Box): Promise<string>;
  /** Resolves when control answers again. */
  ready(): Promise<void>;
}

export interface SceneOptions extends InternetOptions {
  /** Where the Docker daemon is. Default: where DOCKER_HOST says. */
  readonly dockerHost?: string;
  /** Programs that the processes of this Caisson do not find, such as `/usr/bin/crun`. Default: none. */
  readonly hidden?: readonly string[];
  /** What the policy file says beside what is shipped. Default: nothing; the shipped policy holds. */
  readonly policy?: (made: { readonly net: Internet; readonly dir: string }) => Pick<Policy, 'network' | 'secrets'>;
}

export async function openScene({ policy, dockerHost, hidden = [], ...options }: SceneOptions = {}): Promise<Scene> {
  const net = await openInternet(options);
  const dir = mkdtempSync(`${tmpdir()}/caisson-egress-`);
  if (policy !== undefined) writeFileSync(`${dir}/policy.json`, JSON.stringify({ ...shippedPolicy, ...policy({ net, dir }) }));
  const env = { ...process.env, CAISSON_DIR: dir, CAISSON_HOME: HOME, ...(dockerHost !== undefined && { DOCKER_HOST: dockerHost }) };
  const paths = statePaths({ env, uid: 0, resolve });
  const caisson = (args: readonly string[]): Promise<Said> => {
    const [program = '', ...argv] = net.inHost([...(args[0] === 'up' ? hiding(hidden) : []), process.execPath, MAIN, ...args]);
    return endOf(spawn(program, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] }));
  };
  const close = async (): Promise<void> => {
    await caisson(['down']).catch(() => undefined);
    await net[Symbol.asyncDispose]();
    for (const place of [dir, ...globSync(`${dir}.*`)]) rmSync(place, { recursive: true, force: true }); // what a policy was given lies beside it
  };
  const pidOf = async (role: string): Promise<number> => {
    using caller = new Caller(paths.supervisorSocket);
    const { pid, processes } = (await caller.call('status', null)) as SupervisorStatus;
    return role === 'gate namespace' ? childOf(pid, 'caisson-gate') : (processes.find(({ name }) => name === role)?.pid ?? 0);
  };
  try {
    const up = await caisson(['up', '--detach']);
    assert.equal(up.status, 0, up.stderr);
    const inLink = async ({ id }: Box, argv: readonly string[]): Promise<readonly string[]> => {
      const folder = `/proc/${await pidOf('launcher')}/root${paths.sandboxes}`;
      return ['nsenter', `--net=${folder}/${readdirSync(folder).find((name) => name.includes(id)) ?? id}/netns`, '--', ...argv];
    };
    return {
      net, dir, paths, caisson, pidOf, inLink,
      async addressOf(box) {
        const [address = ''] = await box.python(ADDRESS);
        assert.match(address, /^198\.19\./);
        return address;
      },
      async open({ level, rules = [], secrets = [], pids = 50 }) {
        const file = `${dir}/rules-${Math.random().toString(36).slice(2)}.json`;
        writeFileSync(file, JSON.stringify({ rules: rules.filter((rule) => typeof rule !== 'string') }));
        const allowed = rules.filter((rule) => typeof rule === 'string').flatMap((rule) => ['--allow', rule]);
        const made = await caisson(['create', '--level', level, '--pids', `${pids}`, '--policy', file, ...allowed, ...secrets.flatMap((secret) => ['--secret', secret])]);
        assert.equal(made.status, 0, made.stderr);
        return boxOf({ id: made.stdout.toString().trim(), level, caisson, paths });
      },
      async ready() {
        for (const untilMs = performance.now() + READY_MS; (await caisson(['ls'])).status !== 0; await delay(100)) assert.ok(performance.now() < untilMs, 'control does not answer');
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Argv before another, which runs where these programs are none. */
function hiding(programs: readonly string[]): readonly string[] {
  const script = 'for at in $HIDDEN; do mount --bind /dev/null $at; done; exec "$@"';
  return programs.length === 0 ? [] : ['unshare', '--mount', 'env', `HIDDEN=${programs.join(' ')}`, 'sh', '-c', script, 'sh'];
}

function childOf(parent: number, name: string): number {
  return childrenOf(parent).find((pid) => nameOf(pid) === name) ?? 0;
}

/** Name of a process; none of one that has ended meanwhile. */
function nameOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return null;
  }
}

function boxOf({ id, level, caisson, paths }: { readonly id: string; readonly level: Level; readonly caisson: Scene['caisson']; readonly paths: StatePaths }): Box {
  const exec = (argv: readonly string[]): Promise<Said> => caisson(['exec', id, '--', ...argv]);
  return {
    id, level, exec, ...recordOf(paths, id),
    async python(program, ...args) {
      const { status, stdout, stderr } = await exec(['python3', '-c', program, ...args]);
      assert.equal(status, 0, stderr.slice(-2_000));
      return stdout.toString().split('\n').filter((line) => line !== '');
    },
    async [Symbol.asyncDispose]() {
      await caisson(['rm', id]);
    },
  };
}

/** A mark after which nothing comes of what went before: the last packets of a connection follow its end. */
export async function quietMark({ net }: Scene): Promise<number> {
  for (let waits = 0; ; waits++) {
    const mark = await net.mark();
    await delay(200);
    if ((await net.since(mark)).packets.length === 0) return mark;
    assert.ok(waits < 50, 'the wire becomes quiet');
  }
}

/** Nothing has come over the wire since the mark, and nothing can have been missed. */
export async function sinkSawNothing({ net }: Scene, mark: number): Promise<void> {
  await delay(200); // what is on its way arrives
  const { packets, lostPackets } = await net.since(mark);
  assert.deepEqual(packets.map(({ protocol, source, destination, destinationPort }) => `${protocol} ${source} > ${destination} ${destinationPort ?? ''}`), []);
  assert.equal(lostPackets, 0);
}

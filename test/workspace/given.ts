import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { openWorkspaces, type OpenOptions, type WorkspaceStore } from '@caisson/workspace';
import { HOME, IS_ROOT } from '../harness.ts';

/**
 * Every file of these tests runs in a mount namespace of its own, as a launcher does: a namespace that another process
 * made as a copy of this one would hold its mounts for as long as it lives.
 */
if (IS_ROOT && process.env['CAISSON_TEST_NAMESPACE'] === undefined && process.execve !== undefined) {
  const argv = ['unshare', '--mount', '--propagation', 'private', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve('/usr/bin/unshare', argv, { ...process.env, CAISSON_TEST_NAMESPACE: '1' });
}

export const MIB = 1024 ** 2;
export const SMALL = { sizeBytes: 32 * MIB, inodes: 1024 } as const;
const STORE_TOOL = `${HOME}/build/native/caisson-store`;
/** A host uid that is nobody's. */
export const AGENT = 1_879_048_191;
export const SKIP: { readonly skip?: string } = IS_ROOT ? {} : { skip: 'needs root: a workspace is a file system that is mounted' };

export interface Ground extends AsyncDisposable {
  readonly options: OpenOptions;
}

/** Folders for a store of its own, which are gone at the end. */
export function ground(above = tmpdir()): Ground {
  const root = mkdtempSync(`${above}/caisson-workspace-`);
  chmodSync(root, 0o711); // an agent comes to its workspace through here
  const options = { dir: `${root}/workspaces`, mounts: `${root}/run/mounts`, tool: STORE_TOOL, now: Date.now, reserveBytes: 64 * MIB };
  mkdirSync(options.mounts, { recursive: true, mode: 0o711 });
  return {
    options,
    async [Symbol.asyncDispose]() {
      rmSync(root, { recursive: true, force: true });
    },
  };
}

export interface Opened extends AsyncDisposable {
  readonly store: WorkspaceStore;
  readonly options: OpenOptions;
}

export async function opened(): Promise<Opened> {
  const place = ground();
  const store = await openWorkspaces(place.options);
  return {
    store,
    options: place.options,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

let next = 0;
/** A fresh id; `kind` is wsp or lay. */
export function freshId(kind: 'wsp' | 'lay'): string {
  return `${kind}-${(next++).toString(36).padStart(16, '0')}`;
}

/** What a script came to that ran as the agent with `path` as its working directory. */
export function asAgent(path: string, script: string): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync('setpriv', agentArgs(script), { cwd: path, encoding: 'utf8', maxBuffer: 64 * MIB });
  return { status, stdout, stderr };
}

export function startAsAgent(path: string, script: string): ChildProcess {
  return spawn('setpriv', agentArgs(script), { cwd: path, stdio: 'ignore' });
}

function agentArgs(script: string): readonly string[] {
  return ['--reuid', String(AGENT), '--regid', String(AGENT), '--clear-groups', '--pdeathsig', 'KILL', '--', 'sh', '-c', script];
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BWRAP } from './bwrap.ts';
import { DOCKER } from './docker.ts';
import { OCI_PEERS } from './oci.ts';
import { output, runProgram, type OpenPeer, type Peer } from './peer.ts';
import { SRT } from './srt.ts';

/** Restored sandboxes live until the last is measured. */
const RESTORES = 10;

const PEERS: readonly Peer[] = [...OCI_PEERS, BWRAP, DOCKER, SRT];

export interface PeerTimes {
  readonly name: string;
  /** Milliseconds of each run, from nothing to its end. */
  readonly run: readonly number[];
  /** The same in a sandbox that is there; empty where the peer has no such thing. */
  readonly exec: readonly number[];
  /** From saved memory to a sandbox that goes on; empty where the peer has no such thing. */
  readonly restore: readonly number[];
}

export interface PeerReport {
  readonly times: readonly PeerTimes[];
  /** Peer → why it was not measured. */
  readonly missing: ReadonlyMap<string, string>;
}

/** Measures every peer that is here, one after another, and leaves nothing of them behind. */
export async function measurePeers(root: string, count: number): Promise<PeerReport> {
  const scratch = await mkdtemp(join(tmpdir(), 'caisson-bench-'));
  const times: PeerTimes[] = [];
  const missing = new Map<string, string>();
  try {
    const rootfs = await makeRootfs(root, scratch);
    for (const peer of PEERS) {
      const own = join(scratch, peer.name);
      await mkdir(own);
      const opened = await peer.open({ root, scratch: own, rootfs });
      if (typeof opened === 'string') missing.set(peer.name, opened);
      else times.push(await measurePeer(peer.name, opened, count));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { times, missing };
}

async function measurePeer(name: string, opened: OpenPeer, count: number): Promise<PeerTimes> {
  await using peer = opened;
  const under = peer.under ?? [];
  const run = await repeat(count, peer.run, under);
  const exec = peer.exec === undefined ? [] : await repeat(count, peer.exec, under);
  const restore = peer.restore === undefined ? [] : await repeat(RESTORES, peer.restore, under);
  return { name, run, exec, restore };
}

/** Milliseconds of each of `count` runs of a command, after two that warm the caches. */
export async function repeat(count: number, argv: readonly string[], under: readonly string[] = []): Promise<readonly number[]> {
  const warmUps = 2;
  const { status, stdout } = await output([...under, process.execPath, join(import.meta.dirname, 'repeat.ts'), String(count + warmUps), ...argv]);
  if (status !== 0) throw new Error(`${argv.join(' ')} could not be measured`);
  return (JSON.parse(stdout) as readonly number[]).slice(warmUps);
}

async function makeRootfs(root: string, scratch: string): Promise<string> {
  const rootfs = join(scratch, 'rootfs');
  for (const folder of ['proc', 'dev']) await mkdir(join(rootfs, folder), { recursive: true });
  const { status, stderr } = await runProgram(['gcc', '-O2', '-static', '-s', '-o', join(rootfs, 'true'), join(root, 'bench/peers/true.c')]);
  if (status !== 0) throw new Error(`the peers' program cannot be built: ${stderr}`);
  return rootfs;
}

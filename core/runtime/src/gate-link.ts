import { execFile } from 'node:child_process';
import { access, readFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CaissonError } from '@caisson/contract';
import type { DenialsGround } from './denials-folder.ts';

const run = promisify(execFile);
const LINK_MS = 5_000;

/** Where the namespace of the gate is, a path in /proc and the inode that it must have, or why there is none. */
export type GatePlace = { readonly netns: string; readonly inode: number } | { readonly problem: string };

/** Reads what the supervisor has written; it writes anew when the namespace is another. */
export async function gatePlace(file: string): Promise<GatePlace> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return { problem: 'there is no gate' };
  return JSON.parse(text) as GatePlace;
}

/** What makes links to the gate. */
export interface GateGround {
  /** The program caisson-gate. */
  readonly tool: string;
  /** File in which the supervisor says where the namespace of the gate is. */
  readonly place: string;
  readonly denials: DenialsGround;
}

/** A link of one sandbox to the gate. */
export interface GateLink {
  /** The sandbox's network namespace. */
  readonly netns: string;
  /** Its IPv4 address there, by which the gate knows it. */
  readonly address: string;
}

/** 198.19.0.0/16 holds one address for each uid slot, which is 1 to 65534 (RFC 2544 keeps the range off the Internet). */
export function addressOf(slot: number): string {
  return `198.19.${slot >> 8}.${slot & 255}`;
}

/**
 * Makes the network namespace of a sandbox with its link to the gate, and shows it in the sandbox's folder, in the
 * launcher's private mount namespace: it goes when the sandbox has ended and `unlinkGate` was called, or the launcher has.
 *
 * @throws CaissonError NETWORK_UNAVAILABLE, LAUNCH_FAILED
 */
export async function linkToGate({ tool, place }: GateGround, { slot, folder }: { readonly slot: number; readonly folder: string }): Promise<GateLink> {
  const gate = await gatePlace(place);
  if ('problem' in gate) throw new CaissonError('NETWORK_UNAVAILABLE', { what: gate.problem, how: 'look at the log of Caisson' });
  const netns = `${folder}/netns`;
  const address = addressOf(slot);
  await writeFile(netns, '', { mode: 0o600 });
  await run(tool, ['link', gate.netns, `${gate.inode}`, `s${slot}`, address, netns], { timeout: LINK_MS, killSignal: 'SIGKILL' }).catch((error: unknown) => {
    const { stderr = '', message } = error as Error & { readonly stderr?: string };
    throw new CaissonError('LAUNCH_FAILED', { detail: `no link to the gate: ${stderr.trim() || message}` });
  });
  return { netns, address };
}

/** Lets go of the namespace of a sandbox that has ended, if it has one. */
export async function unlinkGate(folder: string): Promise<void> {
  const netns = `${folder}/netns`;
  if (await access(netns).then(() => false, () => true)) return;
  await run('/bin/umount', ['--lazy', netns], { timeout: LINK_MS }).catch(() => undefined); // not mounted: it was never linked
  await rm(netns, { force: true });
}

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

/** Runs the tool. @throws CaissonError LAUNCH_FAILED with what it said */
async function make(tool: string, argv: readonly string[]): Promise<void> {
  await run(tool, argv, { timeout: LINK_MS, killSignal: 'SIGKILL' }).catch((error: unknown) => {
    const { stderr = '', message } = error as Error & { readonly stderr?: string };
    throw new CaissonError('LAUNCH_FAILED', { detail: `no link to the gate: ${stderr.trim() || message}` });
  });
}

/** @throws CaissonError NETWORK_UNAVAILABLE */
async function findGate(ground: GateGround | undefined): Promise<GateGround & { readonly at: readonly [netns: string, inode: string] }> {
  const gate = ground === undefined ? { problem: 'there is no gate' } : await gatePlace(ground.place);
  if (ground === undefined || 'problem' in gate) throw new CaissonError('NETWORK_UNAVAILABLE', { what: 'problem' in gate ? gate.problem : 'there is no gate', how: 'look at the log of Caisson' });
  return { ...ground, at: [gate.netns, `${gate.inode}`] };
}

/**
 * Makes the network namespace of a sandbox with its link to the gate, and shows it in the sandbox's folder, in the
 * launcher's private mount namespace: it goes when the sandbox has ended and `unlinkGate` was called, or the launcher has.
 *
 * @throws CaissonError NETWORK_UNAVAILABLE, LAUNCH_FAILED
 */
export async function linkToGate(ground: GateGround | undefined, { slot, folder }: { readonly slot: number; readonly folder: string }): Promise<GateLink> {
  const { tool, at } = await findGate(ground);
  const netns = `${folder}/netns`;
  const address = addressOf(slot);
  await writeFile(netns, '', { mode: 0o600 });
  await make(tool, ['link', ...at, `s${slot}`, address, netns]);
  return { netns, address };
}

/** Lets go of the namespace of a sandbox that has ended, if it has one. */
export async function unlinkGate(folder: string): Promise<void> {
  const netns = `${folder}/netns`;
  if (await access(netns).then(() => false, () => true)) return;
  await run('/bin/umount', ['--lazy', netns], { timeout: LINK_MS }).catch(() => undefined); // not mounted: it was never linked
  await rm(netns, { force: true });
}

/** A process in a network namespace that somebody else has made. */
interface Joined {
  readonly slot: number;
  readonly folder: string;
  readonly pid: number;
  /** Name of the control group that it is in, which nobody else's is. */
  readonly group: string;
}

/**
 * Gives the network namespace of a process a link to the gate. Somebody else may keep that namespace when the sandbox has
 * ended, and the link in it: the sandbox's folder says which it is, and `leaveGate` removes it.
 *
 * @returns its IPv4 address, by which the gate knows it
 * @throws CaissonError NETWORK_UNAVAILABLE, LAUNCH_FAILED where the process has gone, is not of this group, or has another interface than lo
 */
export async function joinGate(ground: GateGround | undefined, { slot, folder, pid, group }: Joined): Promise<string> {
  const { tool, at } = await findGate(ground);
  const address = addressOf(slot);
  await writeFile(`${folder}/link`, JSON.stringify([...at, `s${slot}`]), { mode: 0o600 });
  await make(tool, ['join', ...at, `s${slot}`, address, `${pid}`, group]);
  return address;
}

/** Removes the link of a sandbox, if it has one, whoever keeps its namespace. @returns whether it is gone */
export async function leaveGate(ground: GateGround | undefined, folder: string): Promise<boolean> {
  const link = await readFile(`${folder}/link`, 'utf8').then((text) => JSON.parse(text) as readonly string[], () => null).catch(() => null);
  if (link === null) return true; // it was not there, or not whole: what makes links had not begun
  if (ground === undefined || !(await unlink(ground.tool, link))) return false;
  await rm(`${folder}/link`, { force: true }); // another sandbox may have a link of this name from here on
  return true;
}

/** Removes every link to the gate: those of a launcher that has died, when nobody else has made one yet. */
export async function removeLinks(ground: GateGround): Promise<boolean> {
  const gate = await gatePlace(ground.place);
  return 'problem' in gate || (await unlink(ground.tool, [gate.netns, `${gate.inode}`]));
}

/** A namespace of the gate that has gone has taken its links along. */
async function unlink(tool: string, argv: readonly string[]): Promise<boolean> {
  return run(tool, ['unlink', ...argv], { timeout: LINK_MS, killSignal: 'SIGKILL' }).then(() => true, (error: unknown) => /: (ENOENT|ESTALE)$/m.test(String((error as { readonly stderr?: string }).stderr)));
}

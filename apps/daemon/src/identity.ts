import { instanceId } from '@caisson/contract';
import { processUids } from '@caisson/runtime';

/** Ids of the processes of one instance; under root each has its own uid, and the two that talk share a group. */
export interface Identities {
  readonly control: { readonly uid: number; readonly gid: number };
  readonly scribe: { readonly uid: number; readonly gid: number };
  readonly gate: { readonly uid: number; readonly gid: number };
  readonly launcher: { readonly uid: number; readonly gid: number };
  readonly vault: { readonly uid: number; readonly gid: number };
  readonly archiver: { readonly uid: number; readonly gid: number };
  /** Reads what is published to the group of the archiver. */
  readonly feeder: { readonly uid: number; readonly gid: number };
  /** So does who writes the mirrors. */
  readonly mirror: { readonly uid: number; readonly gid: number };
}

export function identities(dir: string, own: { readonly uid: number; readonly gid: number }): Identities {
  if (own.uid !== 0) return { control: own, scribe: own, gate: own, launcher: own, vault: own, archiver: own, feeder: own, mirror: own };
  const { control, scribe, gate, archiver, feeder, mirror } = processUids(instanceId(dir));
  return { control: { uid: control, gid: control }, scribe: { uid: scribe, gid: control }, gate: { uid: gate, gid: control }, launcher: own, vault: own, archiver: { uid: archiver, gid: archiver }, feeder: { uid: feeder, gid: archiver }, mirror: { uid: mirror, gid: archiver } };
}

export function self(): { readonly uid: number; readonly gid: number } {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

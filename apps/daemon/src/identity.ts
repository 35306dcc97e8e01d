import { instanceId } from '@caisson/contract';
import { processUids } from '@caisson/runtime';

/** Ids of the processes of one instance; under root each has its own uid, and the two that talk share a group. */
export interface Identities {
  readonly control: { readonly uid: number; readonly gid: number };
  readonly scribe: { readonly uid: number; readonly gid: number };
  readonly launcher: { readonly uid: number; readonly gid: number };
}

export function identities(dir: string, self: { readonly uid: number; readonly gid: number }): Identities {
  if (self.uid !== 0) return { control: self, scribe: self, launcher: self };
  const { control, scribe } = processUids(instanceId(dir));
  return { control: { uid: control, gid: control }, scribe: { uid: scribe, gid: control }, launcher: self };
}

export function self(): { readonly uid: number; readonly gid: number } {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

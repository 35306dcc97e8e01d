import { z } from 'zod';
import { readStatusFile, writeStatusFile } from '@caisson/follower';

const count = z.int().min(0);

/** What who writes the mirrors says of itself, in one small file. */
const MirrorStatus = z.strictObject({
  pid: count,
  /** Looks at the log and at the mirrors so far: as long as it goes up, somebody writes. */
  looks: count,
  /** behind: the last look failed. ended: it was told to end. */
  state: z.enum(['written', 'behind', 'ended']),
  detail: z.string().nullable(),
});
type MirrorStatus = z.infer<typeof MirrorStatus>;

/** Between two statuses that say the same, in milliseconds. */
const SAY_MS = 1_000;
/** Looks of the reader, a second apart, at which nothing was new: so long is nobody patient. */
const SILENT_LOOKS = 10;

/** What writes the status of the mirrors. A status that cannot be written is as good as none: its reader misses it. */
export function mirrorReporter(path: string, nowMs: () => number): { readonly looked: (trouble: string | null) => void; readonly ended: () => void } {
  let looks = 0;
  let said = { state: 'ended', detail: '' as string | null, atMs: 0 };
  const say = (state: MirrorStatus['state'], detail: string | null): void => {
    if (said.state === state && said.detail === detail && nowMs() - said.atMs < SAY_MS) return;
    said = { state, detail, atMs: nowMs() };
    writeStatusFile(path, { pid: process.pid, looks, state, detail } satisfies MirrorStatus);
  };
  return {
    looked: (trouble) => {
      looks++;
      say(trouble === null ? 'written' : 'behind', trouble);
    },
    ended: () => say('ended', null),
  };
}

/** What asks, once in a second, why mirrors are not what the log says; null: they are. No clock is read, so none that is set raises an alarm. */
export function mirrorTrouble(path: string): () => string | null {
  let last = '';
  let silent = 0;
  return () => {
    const status = readStatusFile(path, MirrorStatus);
    const now = status === null ? '' : `${status.pid} ${status.looks}`;
    silent = now === last ? silent + 1 : 0;
    last = now;
    if (status?.state === 'ended') return null;
    if (silent >= SILENT_LOOKS) return `nothing is heard of who writes them (for ${SILENT_LOOKS} s and more)`;
    return status?.state === 'behind' ? (status.detail ?? 'they cannot be written') : null;
  };
}

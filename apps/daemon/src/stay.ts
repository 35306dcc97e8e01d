import type { StatePaths } from '@caisson/contract';
import { RemoteKeeper } from '@caisson/runtime';
import { adopt, Leavings, lifecycle, Sandboxes, WarmPool, type Rooms, type SandboxService, type StayRooms } from '@caisson/sandbox';
import { remoteImages, type RemoteImages } from './image-verbs.ts';
import { log } from './lifetime.ts';
import { remoteWorkspaces, type RemoteWorkspaces } from './workspace-verbs.ts';

/** Prepared sandboxes: as many at most, and of the usual kind at least. */
const WARM = { most: 16, least: 2 };

export interface Stay extends AsyncDisposable {
  readonly sandboxes: SandboxService;
  readonly workspaces: RemoteWorkspaces;
  readonly images: RemoteImages;
  /** The memory of snapshots. */
  readonly memory: Pick<RemoteKeeper, 'checkpoints' | 'removeCheckpoint'>;
  /** Puts on record that a caller is about to do something. @throws CaissonError EVIDENCE_UNAVAILABLE */
  record(subject: string, event: string, caller: string): Promise<void>;
  /** Subjects of the log whose outcome is still to come. */
  readonly goingOn: ReadonlySet<string>;
}

/** Control's side of sandboxes that stay. Those that went on without it are taken in first. */
export async function openStay(paths: StatePaths, rooms: Rooms): Promise<Stay> {
  const keeper = new RemoteKeeper(paths.keeperSocket);
  const workspaces = remoteWorkspaces(keeper);
  const images = remoteImages(keeper);
  const stayRooms: StayRooms = { ...rooms, keeper, workspaces, images, leavings: new Leavings(workspaces) };
  const pool = new WarmPool(stayRooms, WARM);
  const sandboxes = new Sandboxes(stayRooms, pool);
  const { boxes, goingOn } = await adopt(stayRooms);
  for (const box of boxes) {
    sandboxes.adopt(box);
    log('adopted', { sandbox: box.facts.id });
  }
  return {
    sandboxes,
    workspaces,
    memory: keeper,
    images: {
      ...images,
      async remove(ref) {
        await pool.giveUp((await images.resolve(ref)).image); // what nobody has claimed is no reason to keep an image
        await images.remove(ref);
      },
    },
    record: async (subject, event, caller) => void (await rooms.evidence.append(lifecycle(subject.slice(0, 128), event, { caller }))),
    goingOn,
    async [Symbol.asyncDispose]() {
      await sandboxes[Symbol.asyncDispose]();
      keeper[Symbol.dispose]();
    },
  };
}

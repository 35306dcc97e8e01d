export { cgroupAt, killAll, readUsage, readWork, removeCgroup, stirCgroups, type Cgroup } from './cgroup.ts';
export type { HeldImage, ImageRoots } from './image-root.ts';
export { hideUnifiedCgroup, prepareHostImage, showFolder } from './host-image.ts';
export { probeHost } from './host-facts.ts';
export { Cores, onlineProcessors } from './cores.ts';
export { DockerDriver } from './docker-driver.ts';
export { splitStream } from './docker-stream.ts';
export { openDrivers, type Drivers, type DriversGround } from './drivers.ts';
export type { Driver, Exec, ExecEnd, ExecEvents, ExecReport, LaunchOptions, LiveMachine, Machine, OutputStream, ProcessSpec, RestoreOptions } from './driver.ts';
export { FakeDriver, type FakeScript } from './fake.ts';
export { MIRROR_OF, removeMirror, sweepMirrors, type MirrorGround } from './mirror-folder.ts';
export { makeDenialsFolder, removeDenialsFolder, sweepDenials } from './denials-folder.ts';
export { removeLinks, type GateGround, type GatePlace } from './gate-link.ts';
export { parseHello, type Hello } from './hello.ts';
export {
  decodeExit, decodeFailed, encodeDial, encodeLane, encodeSize, encodeSpawn, LANE, LANE_HEADER_BYTES, LANE_PAYLOAD_MAX, LaneReader, STDIN_WINDOW, u32,
  type LaneFrame, type SpawnPayload,
} from './lane.ts';
export { Journal } from './journal.ts';
export { Recorder } from './recorder.ts';
export { Keeper, type AttachedWorkspace } from './keeper.ts';
export { RemoteKeeper } from './keeper-remote.ts';
export { serveKeeper, type KeeperExtras } from './keeper-serve.ts';
export type { Kept, KeptEnd, KeptInfo } from './kept.ts';
export { Lanes } from './lanes.ts';
export { readCheckpoint, removePartialCheckpoints, saveCheckpoint, type CheckpointContent, type CheckpointMaker } from './checkpoint.ts';
export { remoteExpect, remoteFacts, remoteLaunch } from './remote.ts';
export { restoreOn, type LauncherRoom } from './launch.ts';
export { serveLauncher } from './serve.ts';
export { processUids, Slots, uidBase } from './slots.ts';

export { cgroupAt, killAll, readUsage, removeCgroup, stirCgroups, type Cgroup } from './cgroup.ts';
export { hideUnifiedCgroup, prepareHostImage } from './host-image.ts';
export { probeHost } from './host-facts.ts';
export { Cores, onlineProcessors } from './cores.ts';
export { openDrivers, type Drivers } from './drivers.ts';
export type { Driver, Exec, ExecEnd, ExecEvents, ExecReport, Machine, OutputStream, ProcessSpec } from './driver.ts';
export { FakeDriver, type FakeScript } from './fake.ts';
export { parseHello, type Hello } from './hello.ts';
export {
  decodeExit, decodeFailed, encodeLane, encodeSpawn, LANE, LANE_HEADER_BYTES, LANE_PAYLOAD_MAX, LaneReader, STDIN_WINDOW, u32,
  type LaneFrame, type SpawnPayload,
} from './lane.ts';
export { Lanes } from './lanes.ts';
export { remoteExpect, remoteFacts, remoteLaunch } from './remote.ts';
export { serveLauncher, type LauncherRoom } from './serve.ts';
export { processUids, Slots, uidBase } from './slots.ts';

export { hideUnifiedCgroup, prepareHostImage } from './host-image.ts';
export { probeHost } from './host-facts.ts';
export { openDrivers, type Drivers } from './drivers.ts';
export type { Driver, Exec, ExecEnd, ExecReport, Machine, OutputStream, ProcessSpec } from './driver.ts';
export { FakeDriver, type FakeScript } from './fake.ts';
export type { Hello } from './hello.ts';
export { remoteFacts, remoteLaunch } from './remote.ts';
export { serveLauncher, type LauncherRoom } from './serve.ts';
export { processUids, Slots, uidBase } from './slots.ts';

export { attest } from './attest.ts';
export { Doubts } from './doubts.ts';
export { endingOf } from './ending.ts';
export { open } from './open.ts';
export { reconcile, sha256 } from './record.ts';
export type { Client, Rooms } from './rooms.ts';

import type { Rooms } from './rooms.ts';

/** A fresh id: 80 random bits in base 36 behind what it is the id of. */
export function freshId(kind: 'exe' | 'lay' | 'sbx' | 'wsp', randomBytes: Rooms['randomBytes']): string {
  return `${kind}-${BigInt(`0x${randomBytes(10).toString('hex')}`).toString(36).padStart(16, '0').slice(-16)}`;
}

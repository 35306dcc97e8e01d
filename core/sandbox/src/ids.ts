import { hash } from 'node:crypto';
import type { Rooms } from './rooms.ts';

type Kind = 'exe' | 'lay' | 'sbx' | 'wsp';

/** A fresh id: 80 random bits in base 36 behind what it is the id of. */
export function freshId(kind: Kind, randomBytes: Rooms['randomBytes']): string {
  return idOf(kind, randomBytes(10));
}

/** The id of what is asked for under a key, the same to every control: what one has made and not answered the next finds again. */
export function keyedId(kind: Kind, asked: readonly [of: string, key: string, request: string]): string {
  return idOf(kind, hash('sha256', JSON.stringify(asked), 'buffer').subarray(0, 10));
}

function idOf(kind: Kind, bits: Buffer): string {
  return `${kind}-${BigInt(`0x${bits.toString('hex')}`).toString(36).padStart(16, '0').slice(-16)}`;
}

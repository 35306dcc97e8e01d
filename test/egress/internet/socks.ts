import type { Duplex } from 'node:stream';
import type { Facts, World } from './world.ts';

interface Asked {
  readonly target: string;
  /** Bytes of the request. */
  readonly length: number;
}

interface Scene {
  readonly facts: Facts;
  readonly world: World;
  /** Serves what comes through the tunnel. */
  next(): void;
}

/** SOCKS 4, 4a and 5 without a password: logs where the client wants to go, says yes, and plays what is there. */
export function serveSocks(stream: Duplex, { facts, world, next }: Scene): void {
  let read = Buffer.alloc(0);
  let isGreeted = false;
  const end = (): void => void stream.end();
  const take = (chunk: Buffer): void => {
    read = Buffer.concat([read, chunk]);
    const version = read[0];
    if (version === 5 && !isGreeted) {
      if (read.length < 2 || read.length < 2 + (read[1] ?? 0)) return;
      stream.write(Buffer.of(5, 0));
      read = read.subarray(2 + (read[1] ?? 0));
      isGreeted = true;
    }
    const asked = version === 4 ? asked4(read) : isGreeted ? asked5(read) : undefined;
    if (asked === undefined) return;
    stream.off('data', take).off('end', end);
    stream.pause();
    const { id: connection, ends, servername } = facts;
    const socks = isGreeted ? 'SOCKS5' : 'SOCKS4';
    world.write({ kind: 'request', request: world.nextId(), facts: { connection, ...ends, servername, version: '', method: socks, path: asked.target, headers: [] } });
    stream.write(isGreeted ? Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0) : Buffer.of(0, 90, 0, 0, 0, 0, 0, 0));
    if (read.length > asked.length) stream.unshift(read.subarray(asked.length));
    next();
  };
  stream.on('data', take);
  stream.once('end', end);
}

function asked4(read: Buffer): Asked | undefined {
  const end = read.indexOf(0, 8);
  if (end < 0) return undefined;
  const isNamed = read.readUInt32BE(4) < 256; // 4a: 0.0.0.x, and the name after the user
  const last = isNamed ? read.indexOf(0, end + 1) : end;
  if (last < 0) return undefined;
  const host = isNamed ? read.toString('latin1', end + 1, last) : read.subarray(4, 8).join('.');
  return { target: `${host}:${read.readUInt16BE(2)}`, length: last + 1 };
}

function asked5(read: Buffer): Asked | undefined {
  const [kind, nameBytes = 0] = [read[3], read[4]];
  const hostBytes = kind === 1 ? 4 : kind === 4 ? 16 : 1 + nameBytes;
  if (read.length < 5 || read.length < 6 + hostBytes) return undefined;
  const host = read.subarray(4, 4 + hostBytes);
  const groups = (host.toString('hex').match(/.{4}/g) ?? []).join(':');
  const text = kind === 1 ? host.join('.') : kind === 4 ? `[${groups}]` : host.toString('latin1', 1);
  return { target: `${text}:${read.readUInt16BE(4 + hostBytes)}`, length: 6 + hostBytes };
}

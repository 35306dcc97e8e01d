import { once } from 'node:events';
import { createServer as createServer2, type ServerHttp2Stream } from 'node:http2';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { TLSSocket } from 'node:tls';
import { callbackify } from 'node:util';
import { makeAuthority, openCertificates, type Presented } from './internet/certificates.ts';
import { wireName } from './dns-bytes.ts';
import { u16 } from './hello-bytes.ts';

export interface Reply {
  readonly id?: number;
  readonly flags?: number;
  /** Default: the name that was asked. */
  readonly name?: string;
  readonly type?: number;
  readonly counts?: readonly [number, number, number, number];
  readonly answers?: readonly Buffer[];
  readonly behind?: Buffer;
}

/** Id, name and type of a query as the resolver under test writes it. */
export function readAsked(query: Buffer): { readonly id: number; readonly name: string; readonly type: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { id: query.readUInt16BE(0), name: labels.join('.'), type: query.readUInt16BE(at + 1) };
}

/** A reply as a server of ill will writes it: nothing is checked. */
export function reply(query: Buffer, { id, flags = 0x8180, name, type, answers = [], counts = [1, answers.length, 0, 0], behind = Buffer.alloc(0) }: Reply = {}): Buffer {
  const asked = readAsked(query);
  const question = Buffer.concat([wireName(name ?? asked.name), u16(type ?? asked.type), u16(1)]);
  return Buffer.concat([...[id ?? asked.id, flags, ...counts].map(u16), question, ...answers, behind]);
}

/** A record; its owner is by default the question. */
export function rr(type: number, data: Buffer, { owner = Buffer.of(0xc0, 12), ttl = 60, kind = 1 }: { readonly owner?: Buffer; readonly ttl?: number; readonly kind?: number } = {}): Buffer {
  return Buffer.concat([owner, u16(type), u16(kind), u16(ttl >>> 16), u16(ttl & 0xffff), u16(data.length), data]);
}

export const a = (address: string, how: Parameters<typeof rr>[2] = {}): Buffer => rr(1, Buffer.from(address.split('.').map(Number)), how);
export const cname = (to: string, how: Parameters<typeof rr>[2] = {}): Buffer => rr(5, wireName(to), how);

/** The good answer to a query: one address for A, nothing for any other type. */
export const good = (query: Buffer, address = '93.184.216.34'): Buffer => reply(query, { answers: readAsked(query).type === 1 ? [a(address)] : [] });

export interface DnsServer extends AsyncDisposable {
  readonly port: number;
  readonly caPem: string;
  /** TLS connections that were made so far, and those that are open. */
  readonly connections: readonly TLSSocket[];
  /** How long each query was, in bytes. */
  readonly lengths: readonly number[];
  present(server: string, how: Presented): void;
  /** Takes no more connections; those that are open stay. */
  refuse(): void;
}

interface Serving {
  /** Over TLS: writes what it likes, framed or not. */
  readonly tls?: (query: Buffer, socket: TLSSocket) => void;
  readonly https?: (query: Buffer, stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>) => void;
  readonly protocols?: readonly string[];
}

/** A DNS server on loopback, with an authority of its own, that answers as it is told. */
export async function serveDns({ tls, https, protocols = ['h2'] }: Serving): Promise<DnsServer> {
  const dir = mkdtempSync(`${tmpdir()}/caisson-dns-`);
  const caPem = makeAuthority(dir);
  const certificates = openCertificates(dir);
  const connections: TLSSocket[] = [];
  const lengths: number[] = [];
  const overHttp = createServer2();
  const take = async (plain: Socket): Promise<void> => {
    plain.on('error', () => plain.destroy());
    const secure = new TLSSocket(plain, {
      isServer: true, secureContext: await certificates.contextFor('127.0.0.1'), // of who sends no name
      SNICallback: callbackify((name: string) => certificates.contextFor(name)), ALPNProtocols: [...protocols],
    });
    secure.on('error', () => plain.destroy());
    secure.once('secure', () => {
      connections.push(secure);
      if (tls !== undefined) return readFrames(secure, tls);
      Object.assign(secure, { secureConnecting: false });
      overHttp.emit('connection', secure);
    });
  };
  const server = createServer({ noDelay: true }, (plain) => void take(plain));
  const readFrames = (socket: TLSSocket, answer: NonNullable<Serving['tls']>): void => {
    let read = Buffer.alloc(0);
    socket.on('data', (piece: Buffer) => {
      read = Buffer.concat([read, piece]);
      while (read.length >= 2 && read.length >= 2 + read.readUInt16BE(0)) {
        const query = read.subarray(2, 2 + read.readUInt16BE(0));
        read = read.subarray(2 + query.length);
        lengths.push(query.length);
        answer(query, socket);
      }
    });
  };
  overHttp.on('sessionError', () => undefined);
  overHttp.on('stream', (stream: ServerHttp2Stream, headers: Record<string, unknown>) => {
    const pieces: Buffer[] = [];
    stream.on('error', () => stream.destroy());
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.once('end', () => {
      const query = Buffer.concat(pieces);
      lengths.push(query.length);
      https?.(query, stream, headers);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, caPem, connections, lengths,
    present: (name, how) => certificates.present(name, how),
    refuse: () => void server.close(),
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => void server.close(resolve));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

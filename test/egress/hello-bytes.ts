import { connect as connectTcp, type AddressInfo } from 'node:net';
import { duplexPair } from 'node:stream';
import { connect, createServer, type ConnectionOptions } from 'node:tls';
import { ClientHelloReader } from '@caisson/egress';

export const u16 = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff);
export const vector8 = (bytes: Uint8Array): Buffer => Buffer.concat([Buffer.of(bytes.length), bytes]);
export const vector16 = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);

/** A hello as an attacker writes it: nothing is checked. Default: the smallest that is valid. */
export interface HelloSpec {
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly ciphers?: Buffer;
  readonly compressions?: Buffer;
  /** The block as it stands behind its length; null: no block at all. */
  readonly extensions?: Buffer | null;
  readonly tail?: Buffer;
  readonly type?: number;
  /** Length in the header of the message, where it is not that of the message. */
  readonly length?: number;
}

export function helloMessage({ version = 0x0303, sessionId = Buffer.alloc(32, 7), ciphers = Buffer.from('1301c02f', 'hex'), compressions = Buffer.of(0), extensions = serverName('api.example.test'), tail = Buffer.alloc(0), type = 1, length }: HelloSpec = {}): Buffer {
  const body = Buffer.concat([
    u16(version), Buffer.alloc(32, 5), vector8(sessionId), vector16(ciphers), vector8(compressions), ...(extensions === null ? [] : [vector16(extensions)]), tail,
  ]);
  const stated = length ?? body.length;
  return Buffer.concat([Buffer.of(type, stated >> 16, (stated >> 8) & 0xff, stated & 0xff), body]);
}

export const extension = (type: number, data: Uint8Array): Buffer => Buffer.concat([u16(type), vector16(data)]);
export const nameEntry = (name: string, type = 0): Buffer => Buffer.concat([Buffer.of(type), vector16(Buffer.from(name, 'latin1'))]);
export const serverName = (name: string): Buffer => extension(0, vector16(nameEntry(name)));

export const record = (fragment: Uint8Array, { type = 22, version = 0x0301 } = {}): Buffer => Buffer.concat([Buffer.of(type), u16(version), vector16(fragment)]);

/** The message in records of at most so many bytes. */
export function records(message: Buffer, most = 16_384): Buffer {
  const count = Math.ceil(message.length / most);
  return Buffer.concat(Array.from({ length: count }, (_, index) => record(message.subarray(index * most, (index + 1) * most))));
}

/** What Node's own client sends before it hears anything. */
export async function nodeHello(options: ConnectionOptions): Promise<Buffer> {
  const [near, far] = duplexPair();
  const client = connect({ ...options, socket: near });
  client.on('error', () => undefined);
  const reader = new ClientHelloReader();
  const chunks: Buffer[] = [];
  for await (const chunk of far as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    if (!('need' in reader.push(chunk))) break;
  }
  client.destroy();
  far.destroy();
  return Buffer.concat(chunks);
}

export interface Witness extends AsyncDisposable {
  /** The name that OpenSSL sees in these bytes, as Node's server on loopback; null: none, or it refuses them. */
  readonly nameIn: (bytes: Buffer) => Promise<string | null>;
}

export async function openWitness(): Promise<Witness> {
  let seen: string | null = null;
  const server = createServer({
    SNICallback: (name, done) => {
      seen = name;
      done(new Error('no certificate'));
    },
  });
  server.on('tlsClientError', (_, socket) => socket.destroy());
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    nameIn: async (bytes) => {
      seen = null;
      const client = connectTcp(port, '127.0.0.1').resume();
      client.on('error', () => undefined);
      client.end(bytes);
      await new Promise((closed) => client.once('close', closed));
      return seen;
    },
    [Symbol.asyncDispose]: () => new Promise((closed) => void server.close(() => closed())),
  };
}

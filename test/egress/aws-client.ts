import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';

/** The digests that the signer of AWS wants, by Node. */
class Sha256 {
  #digest: Hash | Hmac;
  readonly #secret: Uint8Array | string | null;

  constructor(secret?: Parameters<typeof bytesOf>[0]) {
    this.#secret = secret === undefined ? null : bytesOf(secret);
    this.#digest = this.#begin();
  }

  #begin(): Hash | Hmac {
    return this.#secret === null ? createHash('sha256') : createHmac('sha256', this.#secret);
  }

  update(data: Parameters<typeof bytesOf>[0]): void {
    this.#digest.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#digest.digest();
  }

  reset(): void {
    this.#digest = this.#begin();
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** What is signed. Fields that a client of AWS does not sign are left out of it. */
export interface Unsigned {
  readonly method?: string;
  readonly host?: string;
  /** As it is sent. */
  readonly path?: string;
  /** Names and values as they are meant. */
  readonly query?: readonly (readonly [string, string])[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface How {
  readonly keys: Keys;
  readonly atMs: number;
  readonly region?: string;
  readonly service?: string;
  /** Default true: X-Amz-Content-Sha256 is sent. */
  readonly hash?: boolean;
}

const escaped = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

/** A request target as clients of AWS write it. */
export function targetOf({ path = '/', query = [] }: Unsigned): string {
  return query.length === 0 ? path : `${path}?${query.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join('&')}`;
}

/** Fields of a request that is signed by the signer of AWS, Host first. */
export async function sign(request: Unsigned, { keys, atMs, region = 'eu-west-1', service = 's3', hash = true }: How): Promise<Readonly<Record<string, string>>> {
  const { method = 'GET', host = 'api.example.test', path = '/', query = [], headers = {}, body } = request;
  const signer = new SignatureV4({ credentials: keys, region, service, sha256: Sha256, uriEscapePath: service !== 's3', applyChecksum: hash });
  const named = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of query) (named[name] ??= []).push(value);
  const unsigned = { method, protocol: 'https:', hostname: host, path, query: named, headers: { host, ...headers }, ...(body !== undefined && { body }) };
  return (await signer.sign(unsigned, { signingDate: new Date(atMs) })).headers;
}

export const rawOf = (headers: Readonly<Record<string, string>>): readonly string[] => Object.entries(headers).flat();

import { u16 } from './hello-bytes.ts';

/** A query as an attacker writes it: nothing is checked. Default: one question for the address of api.example.test. */
export interface QuerySpec {
  readonly id?: number;
  readonly flags?: number;
  readonly counts?: readonly [number, number, number, number];
  readonly name?: Buffer;
  readonly type?: number;
  readonly kind?: number;
  readonly behind?: Buffer;
}

export function wireName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.');
  return Buffer.concat([...labels.map((label) => Buffer.from(String.fromCharCode(label.length) + label, 'latin1')), Buffer.of(0)]);
}

export function dnsQuery({ id = 0xbeef, flags = 0x0100, behind = Buffer.alloc(0), counts = [1, 0, 0, behind.length > 0 ? 1 : 0], name = wireName('api.example.test'), type = 1, kind = 1 }: QuerySpec = {}): Buffer {
  return Buffer.concat([...[id, flags, ...counts].map(u16), name, u16(type), u16(kind), behind]);
}

export interface OptSpec {
  readonly owner?: Buffer;
  readonly version?: number;
  readonly flags?: number;
  readonly type?: number;
  readonly data?: Buffer;
}

/** The pseudo-record of EDNS: by default with a cookie, as resolvers send it. */
export function opt({ owner = Buffer.of(0), version = 0, flags = 0x8000, type = 41, data = Buffer.from('000a00080102030405060708', 'hex') }: OptSpec = {}): Buffer {
  return Buffer.concat([owner, u16(type), u16(4_096), Buffer.of(0, version), u16(flags), u16(data.length), data]);
}

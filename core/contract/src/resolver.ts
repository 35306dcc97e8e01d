import { z } from 'zod';
import { HOST } from './host-name.ts';

/** A DNS server that is asked over a connection on which it proves who it is. */
export interface SecureDnsServer {
  /** DNS over TLS (RFC 7858) or over HTTPS (RFC 8484, by POST and HTTP/2). */
  readonly transport: 'tls' | 'https';
  /** Where it is, without brackets. */
  readonly address: string;
  readonly port: number;
  /** Whom its certificate must be for: the name behind `#`, or else the address itself (RFC 8310 §8, strict). */
  readonly name: string;
  /** Empty over TLS. */
  readonly path: string;
}

export type DnsServer = SecureDnsServer | { readonly transport: 'plain'; readonly address: string };

const DEFAULT_PORT = { tls: 853, https: 443 } as const;
/** Scheme, address, port, path, and behind `#` the name: what is asked for is where it says, and no name is looked up to find it. */
const SECURE = /^(?<transport>tls|https):\/\/(?:(?<v4>[0-9.]+)|\[(?=[^\]]*:)(?<v6>[0-9A-Fa-f:.]+)\])(?::(?<port>[0-9]{1,5}))?(?<path>\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255})?(?:#(?<name>.+))?$/;
const SYNTAX = 'must be an address, tls://ADDRESS[:PORT][#NAME] or https://ADDRESS[:PORT]/PATH[#NAME]: the address is where the server is, IPv6 in brackets, and NAME whom its certificate is for';

const isAddress = (text: string): boolean => z.union([z.ipv4(), z.ipv6()]).safeParse(text).success;

/** The server that an entry of `resolvers` means; null for a text that means none. */
export function readResolver(text: string): DnsServer | null {
  if (isAddress(text)) return { transport: 'plain', address: text };
  const { groups } = SECURE.exec(text) ?? {};
  if (groups === undefined) return null;
  const transport = groups['transport'] === 'tls' ? 'tls' : 'https';
  const address = groups['v4'] ?? groups['v6'] ?? '';
  const { name = address, path = '', port = DEFAULT_PORT[transport] } = groups;
  const server = { transport, address, port: Number(port), name, path } as const;
  return isPlace(server) && (name === address || HOST.test(name)) ? server : null;
}

/** DNS over HTTPS has a path (RFC 8484 §3 has no default), and DNS over TLS none. */
function isPlace({ transport, address, port, path }: SecureDnsServer): boolean {
  return isAddress(address) && port >= 1 && port <= 65_535 && (transport === 'tls') === (path === '');
}

const isPlain = (text: string): boolean => readResolver(text)?.transport === 'plain';

/** What asks one server in the open where another does not answer would tell everybody what it hides: all of them, or none. */
export const Resolvers: z.ZodType<readonly string[]> = z
  .array(z.string().max(640).refine((text) => readResolver(text) !== null, SYNTAX))
  .min(1)
  .max(8)
  .refine((all) => all.every(isPlain) || !all.some(isPlain), 'are all addresses, which are asked in the open, or all tls:// and https://, and never both');

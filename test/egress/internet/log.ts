import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Two ends as the sender wrote them. IPv4 in dotted form, never as IPv4 in IPv6. Whoever reset a connection at once has source '' and port 0. */
export interface Ends {
  readonly source: string;
  readonly sourcePort: number;
  /** The address that was meant: every address is answered. */
  readonly destination: string;
  readonly destinationPort: number;
}

/** A packet that came over the link. Ports where the protocol has them. */
export interface Packet extends Pick<Ends, 'source' | 'destination'>, Partial<Pick<Ends, 'sourcePort' | 'destinationPort'>> {
  /** `tcp`, `udp`, `icmp`, `icmpv6`, `ip N` or `ethertype 0xN`. */
  readonly protocol: string;
  readonly bytes: number;
  readonly atMs: number;
}

export interface Connection extends Ends {
  readonly id: number;
  readonly isOpen: boolean;
  /** What came in, as on the wire. Empty for the port that only counts. */
  readonly bytes: Buffer;
  readonly byteCount: number;
  /** The handshake, where one was completed. */
  readonly tls: { readonly servername: string | null; readonly protocol: string | null } | null;
  /** What came in through TLS, decrypted. */
  readonly plain: Buffer;
}

export interface Datagram extends Ends {
  readonly bytes: Buffer;
}

export interface Query extends Ends {
  readonly transport: 'udp' | 'tcp' | 'tls' | 'https';
  readonly name: string;
  readonly type: string;
}

/** A request of HTTP, or what a SOCKS client asked for (`method` is then `SOCKS4` or `SOCKS5`, `path` the target). */
export interface SeenRequest extends Ends {
  readonly connection: number;
  readonly servername: string | null;
  readonly version: string;
  readonly method: string;
  /** The target as sent. */
  readonly path: string;
  /** In the order and case in which they came. */
  readonly headers: readonly (readonly [string, string])[];
  /** The first MiB of the body; empty while it is still coming. */
  readonly body: Buffer;
}

/** All that the fake Internet saw. */
export interface Seen {
  readonly packets: readonly Packet[];
  /** More than 0 when the machine was too busy to look at every packet: then `packets` is not all. */
  readonly lostPackets: number;
  readonly connections: readonly Connection[];
  readonly datagrams: readonly Datagram[];
  readonly queries: readonly Query[];
  readonly requests: readonly SeenRequest[];
}

export type Line =
  | { readonly kind: 'packet'; readonly packet: Packet }
  | { readonly kind: 'lost'; readonly packets: number }
  | { readonly kind: 'open'; readonly id: number; readonly ends: Ends }
  | { readonly kind: 'bytes'; readonly id: number; readonly layer: 'wire' | 'plain'; readonly count: number; readonly base64: string }
  | { readonly kind: 'tls'; readonly id: number; readonly servername: string | null; readonly protocol: string | null }
  | { readonly kind: 'close'; readonly id: number }
  | { readonly kind: 'datagram'; readonly ends: Ends; readonly base64: string }
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'request'; readonly request: number; readonly facts: Omit<SeenRequest, 'body'> }
  | { readonly kind: 'body'; readonly request: number; readonly base64: string };

/** Length of the log in bytes: a mark that `readLog` takes. */
export function logBytes(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}

/** What the log says from the mark on. A connection opened before it appears when something came in on it since, with only that. */
export function readLog(path: string, mark: number): Seen {
  const fd = openSync(path, 'r');
  try {
    const text = Buffer.alloc(fstatSync(fd).size);
    for (let at = 0, read = -1; at < text.length && read !== 0; at += read) read = readSync(fd, text, at, text.length - at, at);
    const lines = (from: number, to: number): readonly string[] => text.toString('utf8', from, to).split('\n').filter((line) => line !== '');
    const before = lines(0, mark).filter((line) => /^\{"kind":"(open|tls|close)"/.test(line));
    return fold(before.map(parsed), lines(mark, text.length).map(parsed));
  } finally {
    closeSync(fd);
  }
}

const parsed = (line: string): Line => JSON.parse(line) as Line;

type Of<K extends Line['kind']> = Extract<Line, { kind: K }>;

function fold(before: readonly Line[], since: readonly Line[]): Seen {
  const of = <K extends Line['kind']>(kind: K, lines = since): readonly Of<K>[] => lines.filter((line): line is Of<K> => line.kind === kind);
  const touched = new Set(since.flatMap((line) => ('id' in line && line.kind !== 'close' ? [line.id] : [])));
  const all = [...before, ...since];
  const bytesOf = new Map<string, Of<'bytes'>[]>();
  for (const line of of('bytes')) {
    const key = `${line.layer} ${line.id}`;
    const list = bytesOf.get(key);
    if (list === undefined) bytesOf.set(key, [line]);
    else list.push(line);
  }
  const handshakes = new Map(of('tls', all).map((line) => [line.id, line]));
  const closed = new Set(of('close', all).map(({ id }) => id));
  const bodies = new Map(of('body').map(({ request, base64 }) => [request, base64]));
  const joined = (lines: readonly Of<'bytes'>[] = []): Buffer => Buffer.concat(lines.map(({ base64 }) => Buffer.from(base64, 'base64')));
  return {
    packets: of('packet').map(({ packet }) => packet),
    lostPackets: of('lost').reduce((sum, { packets }) => sum + packets, 0),
    connections: of('open', all).filter(({ id }) => touched.has(id)).map(({ id, ends }) => {
      const wire = bytesOf.get(`wire ${id}`) ?? [];
      const tls = handshakes.get(id);
      return {
        ...ends,
        id,
        isOpen: !closed.has(id),
        bytes: joined(wire),
        byteCount: wire.reduce((sum, { count }) => sum + count, 0),
        tls: tls === undefined ? null : { servername: tls.servername, protocol: tls.protocol },
        plain: joined(bytesOf.get(`plain ${id}`)),
      };
    }),
    datagrams: of('datagram').map(({ ends, base64 }) => ({ ...ends, bytes: Buffer.from(base64, 'base64') })),
    queries: of('query').map(({ query }) => query),
    requests: of('request').map(({ request, facts }) => ({ ...facts, body: Buffer.from(bodies.get(request) ?? '', 'base64') })),
  };
}

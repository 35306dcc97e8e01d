import type { Server, Socket } from 'node:net';
import type { EgressDenied } from '@caisson/contract';
import type { Admitted } from './admitted.ts';
import type { Call, GateRooms } from './call.ts';
import { serveCall } from './connection.ts';
import { denialsResponse } from './denials.ts';
import { denial, denialBody, failureBody, responseText } from './denial.ts';
import { farewell } from './farewell.ts';
import { readFirst } from './first-bytes.ts';
import { canonicalHost } from './host.ts';
import { readProxyHead, type ProxyHead } from './proxy-request.ts';
import { readSocksGreeting, readSocksRequest, SOCKS_REPLY, writeSocksReply, type SocksReply } from './socks.ts';

/** Bytes of what a proxy was sent that go on record when they are refused. */
const LINE_BYTES = 256;

export type Find = (address: string | undefined) => Admitted | undefined;

/** Takes the connections of one listener, each of a sandbox that is known by its address. */
function serve(server: Server, find: Find, take: (client: Socket, admitted: Admitted) => Promise<void> | void): void {
  server.on('connection', (client: Socket) => {
    client.on('error', () => client.destroy());
    const admitted = find(client.remoteAddress);
    if (admitted === undefined || !admitted.take(client)) return void client.resetAndDestroy();
    client.setNoDelay(true);
    void take(client, admitted);
  });
}

/** Connections to an address that stands for a name: the address of our end is the one that was meant. */
export function serveDirect(server: Server, find: Find, rooms: GateRooms): void {
  serve(server, find, (client, admitted) => {
    const { localAddress = '', localPort: port = 0 } = client;
    const host = admitted.names.hostAt(localAddress);
    const reset = (): void => void client.resetAndDestroy();
    if (host === null) {
      admitted.refuse({ what: 'connection', to: `${localAddress}:${port}`, rule: null, reason: 'the address stands for no name that this sandbox has asked for' });
      return reset();
    }
    return serveCall({ admitted, client, host, port, head: Buffer.alloc(0), accept: () => undefined, deny: reset, fail: reset }, rooms);
  });
}

/** SOCKS5 (RFC 1928), for programs that insist on a proxy. */
export function serveSocks(server: Server, find: Find, rooms: GateRooms): void {
  serve(server, find, async (client, admitted) => {
    const greeting = await readFirst(client, Buffer.alloc(0), (_, all) => {
      const read = readSocksGreeting(all());
      return 'need' in read ? null : read;
    });
    if ('gone' in greeting) return void client.destroy();
    if ('refused' in greeting.value) return refuseMessage({ client, admitted, to: 'the SOCKS proxy', reason: greeting.value.refused, word: greeting.value.answer ?? '' });
    client.write(greeting.value.answer);
    const asked = await readFirst(client, greeting.bytes.subarray(greeting.value.restAt), (_, all) => {
      const read = readSocksRequest(all());
      return 'need' in read ? null : read;
    });
    if ('gone' in asked) return void client.destroy();
    if ('refused' in asked.value) return refuseMessage({ client, admitted, to: socksTarget(asked.bytes), reason: asked.value.refused, word: asked.value.answer ?? '' });
    const { request, restAt } = asked.value;
    const reply = (code: SocksReply): void => farewell(client, writeSocksReply(code));
    await serveProxied({
      admitted, client, named: request.host, port: request.port, head: asked.bytes.subarray(restAt),
      accept: () => void client.write(writeSocksReply(SOCKS_REPLY.succeeded)),
      deny: () => reply(SOCKS_REPLY.notAllowed),
      fail: () => reply(SOCKS_REPLY.hostUnreachable),
    }, rooms);
  });
}

/** An HTTP proxy: CONNECT (RFC 9110 §9.3.6). A request for a whole http: address is handed to who reads requests. */
export function serveHttpProxy(server: Server, find: Find, rooms: GateRooms & { readonly serveRequests: (client: Socket, admitted: Admitted, head: Buffer) => void }): void {
  serve(server, find, async (client, admitted) => {
    const first = await readFirst<Exclude<ProxyHead, { need: 'more' }>>(client, Buffer.alloc(0), (_, all) => {
      const read = readProxyHead(all());
      return 'need' in read ? null : read;
    });
    if ('gone' in first) return void client.destroy();
    const { value, bytes } = first;
    const refusal = { client, admitted, to: requestLine(bytes) };
    if ('refused' in value) return refuseMessage({ ...refusal, reason: value.reason, word: `HTTP/1.1 ${value.refused} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n` });
    if ('denials' in value) {
      const tooFast = admitted.tooFast();
      return tooFast === null ? farewell(client, denialsResponse(admitted)) : refuseMessage({ ...refusal, reason: tooFast, word: responseText(denialBody(denial(tooFast, 'fewer requests'))) });
    }
    if ('absolute' in value) {
      const parsed = canonicalHost(value.absolute.host);
      if ('host' in parsed) return rooms.serveRequests(client, admitted, bytes);
      const denied = notAName(parsed.refused);
      return refuseMessage({ ...refusal, reason: denied.reason, word: responseText(denialBody(denied)) });
    }
    const { host: named, port } = value.connect;
    await serveProxied({
      admitted, client, named, port, head: bytes.subarray(value.restAt),
      accept: () => void client.write('HTTP/1.1 200 Connection established\r\n\r\n'),
      deny: (denied) => farewell(client, responseText(denialBody(denied))),
      fail: (why) => farewell(client, responseText(failureBody(why))),
    }, rooms);
  });
}

/** The host that a proxy was asked for is read as every other. An address is no name, whoever it belongs to. */
async function serveProxied({ named, ...call }: Omit<Call, 'host'> & { readonly named: string }, rooms: GateRooms): Promise<void> {
  const parsed = canonicalHost(named);
  if ('host' in parsed) return serveCall({ ...call, host: parsed.host }, rooms);
  const denied = notAName(parsed.refused);
  call.admitted.refuse({ what: 'connection', to: `${named}:${call.port}`, rule: null, reason: denied.reason, wouldAllow: denied.wouldAllow });
  call.deny(denied);
}

function notAName(refused: string): EgressDenied {
  return denial(`a proxy is asked for names only: ${refused}`, 'a host name that a rule allows');
}

/** Refuses what cannot be understood, which is put on record like every other attempt. */
function refuseMessage({ client, admitted, to, reason, word }: { readonly client: Socket; readonly admitted: Admitted; readonly to: string; readonly reason: string; readonly word: Uint8Array | string }): void {
  admitted.refuse({ what: 'connection', to, rule: null, reason });
  farewell(client, word);
}

/** The first line that a proxy was sent, without what may be a secret in it: the name of a user, or a query. */
function requestLine(bytes: Buffer): string {
  const [line = ''] = bytes.toString('latin1', 0, LINE_BYTES).split(/\r?\n/, 1);
  return `the proxy, ${line.replace(/[^ /]*@/g, '*@').replace(/\?\S*/g, '?*')}`;
}

/** The name that a SOCKS proxy was asked for, however wrong (RFC 1928 §5). */
function socksTarget(bytes: Buffer): string {
  const [, , , type, length = 0] = bytes;
  return `the SOCKS proxy${type === 3 ? `, ${bytes.toString('latin1', 5, 5 + length)}` : ''}`;
}

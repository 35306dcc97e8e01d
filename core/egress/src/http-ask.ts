import { constants } from 'node:crypto';
import { request as httpRequest, type ClientRequest, type OutgoingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect as connectTls, createSecureContext, getCACertificates, type PeerCertificate, type SecureContext } from 'node:tls';
import type { NetworkPolicy } from '@caisson/contract';
import { dial } from './dial.ts';
import type { PassingRequest } from './http-decide.ts';
import { passedOn } from './http-fields.ts';

const HANDSHAKE_MS = 10_000;
const UPSTREAM_IDLE_MS = 300_000;
/** Sets of authorities that are held: those of the host, and those with what policies add. */
const TRUST_HELD = 8;

export type Opened = { readonly socket: Socket } | { readonly failed: string };

/** What is asked, beside what was decided of it. */
export interface Asking {
  readonly method: string | undefined;
  /** The fields that say how long the body is. */
  readonly lengths: OutgoingHttpHeaders;
  /** Whoever asks: when it is gone nobody waits. */
  readonly client: Duplex;
  readonly more?: OutgoingHttpHeaders;
  /** Default: a connection of its own. */
  readonly opened?: Opened;
}

export type Asked = { readonly upstream: ClientRequest } | { readonly failed: string };

/** Sends requests on, over connections of the gate's own. */
export class Upstreams {
  readonly #trust = new Map<string, SecureContext>();

  /** The same request, with its secrets, to an address that was checked. Where it goes by TLS the server has proved its name before anything is sent. */
  async ask({ method, lengths, client, more = {}, opened: given }: Asking, passing: PassingRequest): Promise<Asked> {
    const { context: { secure }, target: { host, port }, injected, to, read } = passing;
    const opened = given ?? (await this.open(passing, client, ['http/1.1']));
    if ('failed' in opened) return opened;
    const headers: OutgoingHttpHeaders = {
      ...passedOn(injected.rawHeaders), host: port === (secure ? 443 : 80) ? host : `${host}:${port}`, ...(read === null ? lengths : { 'content-length': read.body.length }), ...more,
      ...identity(passing),
    };
    const upstream = httpRequest({
      host: to[0]?.address, port, method, path: injected.path, headers,
      createConnection: () => opened.socket, setHost: false, timeout: UPSTREAM_IDLE_MS, insecureHTTPParser: false,
    });
    upstream.on('timeout', () => upstream.destroy(new Error('no answer in time')));
    return { upstream };
  }

  /** A connection to an address that was checked, for as long as the client is there. @param protocols what is offered by ALPN */
  async open(passing: PassingRequest, client: Duplex, protocols: readonly string[]): Promise<Opened> {
    const { context: { admitted, connection }, target: { host, port } } = passing;
    const givenUp = new AbortController();
    const giveUp = (): void => givenUp.abort();
    client.once('close', giveUp);
    const opened = client.destroyed ? { failed: 'the client went away' } : await this.#open(passing, givenUp.signal, protocols);
    client.off('close', giveUp);
    if ('failed' in opened) await admitted.record({ event: 'not-connected', connection: connection.id, host, port, detail: opened.failed.slice(0, 256) });
    return opened;
  }

  async #open({ context: { admitted, secure }, target: { host, port }, to }: PassingRequest, signal: AbortSignal, protocols: readonly string[]): Promise<Opened> {
    const dialled = await dial(to, port, signal);
    if ('failed' in dialled || !secure) return dialled;
    return proved(dialled.socket, { host, trust: this.#trustOf(admitted.policy), signal, protocols });
  }

  /** Whom the gate believes that a server is who it says: the authorities of the host, and those that the policy adds. */
  #trustOf({ certificateAuthorities = [] }: NetworkPolicy): SecureContext {
    const name = certificateAuthorities.join('');
    const known = this.#trust.get(name);
    if (known !== undefined) return known;
    const [oldest] = this.#trust.keys();
    if (this.#trust.size >= TRUST_HELD && oldest !== undefined) this.#trust.delete(oldest);
    const system = getCACertificates('system');
    const trust = createSecureContext({ ca: [...(system.length > 0 ? system : getCACertificates('bundled')), ...certificateAuthorities], minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION });
    this.#trust.set(name, trust);
    return trust;
  }
}

interface Proof {
  readonly host: string;
  readonly trust: SecureContext;
  readonly signal: AbortSignal;
  readonly protocols: readonly string[];
}

/** What asks that an answer comes so that it can be looked at, where a secret goes out. */
export function identity({ injected: { echoes } }: PassingRequest): OutgoingHttpHeaders {
  return echoes.length > 0 ? { 'accept-encoding': 'identity' } : {};
}

/** A TLS connection whose server has proved that it is the host (RFC 9525). */
function proved(socket: Socket, { host, trust, signal, protocols }: Proof): Promise<Opened> {
  return new Promise((resolve) => {
    const secure = connectTls({ socket, servername: host, secureContext: trust, ALPNProtocols: [...protocols], checkServerIdentity: namesHost });
    const settle = (failed: string | null): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      if (failed === null) return resolve({ socket: secure });
      secure.destroy();
      resolve({ failed });
    };
    const abort = (): void => settle('the client went away');
    const timer = setTimeout(() => settle(`no TLS handshake within ${HANDSHAKE_MS} ms`), HANDSHAKE_MS);
    secure.once('secureConnect', () => settle(secure.authorized ? null : 'the server has not proved its name'));
    secure.on('error', (error: NodeJS.ErrnoException) => settle(`the server has not proved its name: ${error.code ?? error.message}`)); // stays: a socket without one throws
    secure.once('close', () => settle('the server ended the TLS handshake'));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}

/** By the names that a certificate is for, and never by its subject, which authorities let be any text (RFC 9525 §2). */
function namesHost(host: string, certificate: PeerCertificate): Error | undefined {
  return checkServerIdentity(host, { ...certificate, subject: { ...certificate.subject, CN: '' } });
}

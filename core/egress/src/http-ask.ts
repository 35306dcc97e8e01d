import { request as httpRequest, type ClientRequest, type OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { dial } from './dial.ts';
import type { PassingRequest } from './http-decide.ts';
import { passedOn } from './http-fields.ts';
import { proved, Trust, type Opened } from './proved.ts';

const UPSTREAM_IDLE_MS = 300_000;

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
  readonly #trust = new Trust();

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
    return proved(dialled.socket, { host, trust: this.#trust.of(admitted.policy.certificateAuthorities), signal, protocols });
  }
}

/** What asks that an answer comes so that it can be looked at, where a secret goes out. */
export function identity({ injected: { echoes } }: PassingRequest): OutgoingHttpHeaders {
  return echoes.length > 0 ? { 'accept-encoding': 'identity' } : {};
}

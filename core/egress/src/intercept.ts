import { TLSSocket } from 'node:tls';
import type { Admitted } from './admitted.ts';
import type { Call } from './call.ts';

/** Longest that the handshake with the sandbox may take. */
const HANDSHAKE_MS = 10_000;

export type Ended = { readonly client: TLSSocket } | { readonly failed: string };

/**
 * Ends the TLS of a sandbox to a host by a certificate that this sandbox trusts.
 *
 * @param hello what was read of the client already
 */
export async function endTls({ client, host }: Pick<Call, 'client' | 'host'>, certificates: NonNullable<Admitted['certificates']>, hello: Buffer): Promise<Ended> {
  const secureContext = await certificates.contextFor(host);
  if (client.destroyed) return { failed: 'the client went away' };
  client.unshift(hello);
  const secure = new TLSSocket(client, { isServer: true, secureContext, ALPNProtocols: ['h2', 'http/1.1'] });
  return new Promise((resolve) => {
    const settle = (ended: Ended): void => {
      clearTimeout(timer);
      if ('failed' in ended) secure.destroy();
      resolve(ended);
    };
    const timer = setTimeout(() => settle({ failed: `no TLS handshake within ${HANDSHAKE_MS} ms` }), HANDSHAKE_MS);
    secure.once('secure', () => {
      Object.assign(secure, { secureConnecting: false }); // Node says it of the sockets of its own servers only, and HTTP/2 waits for it
      settle({ client: secure });
    });
    secure.on('error', (error: NodeJS.ErrnoException) => settle({ failed: `the client ended the TLS handshake: ${error.code ?? 'error'}` }));
    secure.once('close', () => settle({ failed: 'the client went away during the TLS handshake' }));
  });
}

import { constants } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, createSecureContext, getCACertificates, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';

const HANDSHAKE_MS = 10_000;
/** Sets of authorities that are held: those of the host, and those with what policies add. */
const TRUST_HELD = 8;

export type Opened = { readonly socket: Socket } | { readonly failed: string };

/** Whom the gate believes that a server is who it says: the authorities of the host, and those that the policy adds. */
export class Trust {
  readonly #held = new Map<string, SecureContext>();

  of(certificateAuthorities: readonly string[] = []): SecureContext {
    const name = certificateAuthorities.join('');
    const known = this.#held.get(name);
    if (known !== undefined) return known;
    const [oldest] = this.#held.keys();
    if (this.#held.size >= TRUST_HELD && oldest !== undefined) this.#held.delete(oldest);
    const system = getCACertificates('system');
    const trust = createSecureContext({ ca: [...(system.length > 0 ? system : getCACertificates('bundled')), ...certificateAuthorities], minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION });
    this.#held.set(name, trust);
    return trust;
  }
}

interface Proof {
  /** A name, or an address that the certificate must be for. */
  readonly host: string;
  readonly trust: SecureContext;
  readonly signal: AbortSignal;
  /** What is offered by ALPN; none: the extension is left out. */
  readonly protocols: readonly string[];
}

/** A TLS connection whose server has proved that it is the host (RFC 9525). */
export function proved(socket: Socket, { host, trust, signal, protocols }: Proof): Promise<{ readonly socket: TLSSocket } | { readonly failed: string }> {
  return new Promise((resolve) => {
    const secure = connectTls({
      socket, servername: isIP(host) === 0 ? host : '', secureContext: trust, ...(protocols.length > 0 && { ALPNProtocols: [...protocols] }),
      checkServerIdentity: (_, certificate) => namesHost(host, certificate),
    });
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

import { request as requestPlain, type IncomingMessage } from 'node:http';
import { request as requestSecure } from 'node:https';

const ANSWER_MAX = 1024 * 1024;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export interface Question {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Authorities by which the server proves its name, as PEM. Default: those of the host. */
  readonly ca?: Buffer;
  readonly timeoutMs: number;
}

export type Answered = { readonly body: Buffer } | { readonly why: string; readonly status?: number };

/** An address of a server, no more, to which a token may go. @param path is put behind its own */
export function addressOf(address: string, path: string): URL | { readonly why: string } {
  const url = new URL(address);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.test(url.hostname))) return { why: 'its address must be https, or http of this host' };
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return { why: 'its address must be no more than scheme, host, port and path' };
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`;
  return url;
}

/** GET, whole or not at all. A redirect is no answer: the token is for the address that the policy names. */
export async function askServer(question: Question): Promise<Answered> {
  const signal = AbortSignal.timeout(question.timeoutMs);
  return get(question, signal).catch((error: unknown) => ({ why: `the server cannot be asked (${signal.aborted ? 'it took too long' : kindOf(error)})` }));
}

async function get({ url, headers, ca }: Question, signal: AbortSignal): Promise<Answered> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestSecure : requestPlain;
    // rejectUnauthorized is said aloud, because a variable of the environment can turn the default off.
    const asked = request(url, { headers: { ...headers, accept: 'application/json' }, signal, agent: false, rejectUnauthorized: true, ...(ca !== undefined && { ca }) }, resolve);
    asked.once('error', reject);
    asked.end();
  });
  try {
    const { statusCode: status = 0 } = response;
    return status === 200 ? await bodyOf(response) : { why: `the server answers with status ${status}`, status };
  } finally {
    response.destroy();
  }
}

async function bodyOf(response: IncomingMessage): Promise<Answered> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > ANSWER_MAX) return { why: `the server answers with more than ${ANSWER_MAX} bytes` };
    }
    return { body: Buffer.concat(chunks) };
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

/** A code such as ECONNREFUSED or DEPTH_ZERO_SELF_SIGNED_CERT, never a message. */
function kindOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown';
}

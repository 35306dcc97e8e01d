import { request as requestPlain, type IncomingMessage } from 'node:http';
import { request as requestSecure } from 'node:https';
import { z } from 'zod';
import type { VaultField } from '@caisson/contract';
import type { Resolved } from './resolved.ts';

const ANSWER_MAX = 1024 * 1024;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** GET /v1/{mount}/data/{path} of the engine KV, version 2. */
const Answer = z.object({ data: z.object({ data: z.record(z.string(), z.unknown()) }) });

/** Reads one field of a secret in HashiCorp Vault. A redirect is no answer: the token is for the address that the policy names. */
export async function readField(field: VaultField, { token, timeoutMs }: { readonly token: Buffer; readonly timeoutMs: number }): Promise<Resolved> {
  const url = addressOf(field);
  if ('why' in url) return url;
  const signal = AbortSignal.timeout(timeoutMs);
  const answered = await get(url, token, signal).catch((error: unknown) => ({ why: `the server cannot be asked (${signal.aborted ? 'it took too long' : kindOf(error)})` }));
  if ('why' in answered) return answered;
  try {
    return fieldOf(answered.body, field.field);
  } finally {
    answered.body.fill(0);
  }
}

function addressOf({ address, mount = 'secret', path }: VaultField): URL | { readonly why: string } {
  const url = new URL(address);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.test(url.hostname))) return { why: 'its address must be https, or http of this host' };
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return { why: 'its address must be no more than scheme, host, port and path' };
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${mount}/data/${path}`;
  return url;
}

async function get(url: URL, token: Buffer, signal: AbortSignal): Promise<{ readonly body: Buffer } | { readonly why: string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestSecure : requestPlain;
    const headers = { 'x-vault-token': token.toString('utf8'), 'x-vault-request': 'true', accept: 'application/json' };
    // Said aloud, because a variable of the environment can turn the default off.
    const asked = request(url, { headers, signal, agent: false, rejectUnauthorized: true }, resolve);
    asked.once('error', reject);
    asked.end();
  });
  try {
    if (response.statusCode !== 200) return { why: `the server answers with status ${response.statusCode}` };
    return await bodyOf(response);
  } finally {
    response.destroy();
  }
}

async function bodyOf(response: IncomingMessage): Promise<{ readonly body: Buffer } | { readonly why: string }> {
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

/** What JSON.parse throws quotes the text, and is dropped. */
function fieldOf(body: Buffer, name: string): Resolved {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    return { why: 'the server does not answer with JSON' };
  }
  const answer = Answer.safeParse(json);
  if (!answer.success) return { why: 'the server does not answer as KV version 2 does' };
  const { data } = answer.data.data;
  const value = Object.hasOwn(data, name) ? data[name] : undefined;
  return typeof value === 'string' ? { value: Buffer.from(value) } : { why: 'the secret has no such field that is text' };
}

/** A code such as ECONNREFUSED or DEPTH_ZERO_SELF_SIGNED_CERT, never a message. */
function kindOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown';
}

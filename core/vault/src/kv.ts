import { z } from 'zod';
import type { VaultField } from '@caisson/contract';
import { addressOf, askServer } from './ask.ts';
import type { Resolved } from './resolved.ts';

/** GET /v1/{mount}/data/{path} of the engine KV, version 2. */
const Answer = z.object({ data: z.object({ data: z.record(z.string(), z.unknown()) }) });

/** Reads one field of a secret in HashiCorp Vault. */
export async function readField({ address, mount = 'secret', path, field }: VaultField, { token, timeoutMs }: { readonly token: Buffer; readonly timeoutMs: number }): Promise<Resolved> {
  const url = addressOf(address, `/v1/${mount}/data/${path}`);
  if ('why' in url) return url;
  const answered = await askServer({ url, headers: { 'x-vault-token': token.toString('utf8'), 'x-vault-request': 'true' }, timeoutMs });
  if ('why' in answered) return answered;
  try {
    return fieldOf(answered.body, field);
  } finally {
    answered.body.fill(0);
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

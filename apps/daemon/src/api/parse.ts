import { CaissonError } from '@caisson/contract';
import type { z } from 'zod';

/** @throws CaissonError REQUEST_INVALID naming the field. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, whole: 'body' | 'query'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = (issue?.path ?? []).join('.');
  const what = issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message;
  throw new CaissonError('REQUEST_INVALID', { detail: `${field === '' ? whole : field}: ${what ?? 'malformed'}` });
}

/**
 * The names and values of a query string, as a form writes them; a name that comes twice has a list of values.
 *
 * @throws CaissonError REQUEST_INVALID for what is not percent-encoded UTF-8.
 */
export function parseQuery(text: string): Readonly<Record<string, string | readonly string[]>> {
  const query = Object.create(null) as Record<string, string | readonly string[]>;
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decode(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? '' : decode(pair.slice(at + 1));
    const before = query[name];
    query[name] = before === undefined ? value : [...(typeof before === 'string' ? [before] : before), value];
  }
  return query;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new CaissonError('REQUEST_INVALID', { detail: 'query: is not percent-encoded UTF-8' });
  }
}

/** JSON keys that would reach an object's prototype where a consumer assigns them (CWE-1321), escapes included. */
const PROTOTYPE_KEY = /"(?:_|\\u005f)(?:_|\\u005f)(?:p|\\u0070)(?:r|\\u0072)(?:o|\\u006f)(?:t|\\u0074)(?:o|\\u006f)(?:_|\\u005f)(?:_|\\u005f)"\s*:/i;

/** Made once: making one takes longer than most bodies to read. It keeps nothing between two whole texts. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * A JSON body; nothing for an empty one.
 *
 * @throws CaissonError REQUEST_INVALID
 */
export function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  try {
    const text = UTF8.decode(bytes);
    if (PROTOTYPE_KEY.test(text)) throw new Error('__proto__ is no field of anything');
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CaissonError('REQUEST_INVALID', { detail: `body: ${(error as Error).message.slice(0, 200)}` });
  }
}

const KEY = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/;

/** @throws CaissonError REQUEST_INVALID */
export function idempotencyKey(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === 'string' && KEY.test(header)) return header;
  throw new CaissonError('REQUEST_INVALID', { detail: 'Idempotency-Key: must be 1 to 128 printable characters' });
}

import { z } from 'zod';
import type { KubernetesKey } from '@caisson/contract';
import { addressOf, askServer } from './ask.ts';
import type { Resolved } from './resolved.ts';

/** GET /api/v1/namespaces/{namespace}/secrets/{name}: a Secret (core/v1), whose data are base64. */
const Secret = z.object({ kind: z.literal('Secret'), data: z.record(z.string(), z.string()).nullish() });
/** RFC 4648 §4, with its padding and in one piece. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const REASONS: Readonly<Record<number, string>> = {
  401: 'the API server does not know its token (status 401)',
  403: 'its token may not get this Secret (status 403): a Role needs the verb get of secrets',
  404: 'the API server has no such Secret in this namespace (status 404)',
};

/** Where the API server is and who asks it. */
export interface Cluster {
  readonly server: string;
  readonly namespace: string;
  readonly token: Buffer;
  /** Default: the authorities of the host. */
  readonly ca?: Buffer;
  readonly timeoutMs: number;
}

/** Reads one key of a Secret of Kubernetes. */
export async function readSecretKey({ name, key }: Pick<KubernetesKey, 'name' | 'key'>, { server, namespace, token, ...how }: Cluster): Promise<Resolved> {
  const url = addressOf(server, `/api/v1/namespaces/${namespace}/secrets/${name}`);
  if ('why' in url) return url;
  const answered = await askServer({ url, headers: { authorization: `Bearer ${token.toString('utf8')}` }, ...how });
  if ('why' in answered) return { why: REASONS[answered.status ?? 0] ?? answered.why };
  try {
    return keyOf(answered.body, key);
  } finally {
    answered.body.fill(0);
  }
}

/** What JSON.parse throws quotes the text, and is dropped. */
function keyOf(body: Buffer, key: string): Resolved {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    return { why: 'the server does not answer with JSON' };
  }
  const answer = Secret.safeParse(json);
  if (!answer.success) return { why: 'the server does not answer as the API of Kubernetes does' };
  const { data } = answer.data;
  const text = data !== undefined && data !== null && Object.hasOwn(data, key) ? data[key] : undefined;
  if (text === undefined) return { why: 'the Secret has no such key' };
  const value = BASE64.test(text) ? Buffer.from(text, 'base64') : null;
  return value?.toString('base64') === text ? { value } : { why: 'the key of the Secret is not base64' };
}

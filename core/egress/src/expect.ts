import { EgressRule, NetworkPolicy, readsRequests } from '@caisson/contract';
import { z } from 'zod';
import { decideConnection } from './decide.ts';
import { decideHttp } from './http-rules.ts';
import { layersOf, type Layer } from './layers.ts';

/** A connection, or one request on it, that rules are expected to allow or to deny. */
export interface Expected {
  readonly host: string;
  /** Default 443. */
  readonly port?: number;
  /** Default, where a path is named: GET. */
  readonly method?: string;
  /** Default, where a method is named: `/`. */
  readonly path?: string;
}

/** What a policy is expected to do: a file that stands beside it. */
export interface PolicyTest {
  /** What the policy file says of the network, or the path of a file that holds that or a whole policy. Default: no policy. */
  readonly policy?: NetworkPolicy | string;
  /** What a call asks for, or the path of a file that `--policy` takes. Default: whatever the policy lets it. */
  readonly rules?: readonly EgressRule[] | string;
  readonly allow?: readonly (string | Expected)[];
  readonly deny?: readonly (string | Expected)[];
}

const Place = z.union([
  z.string().regex(/^[^\s/]+$/, 'must be HOST or HOST:PORT'),
  z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65_535).optional(), method: z.string().regex(/^[A-Z]{1,32}$/, 'must be a method in capitals').optional(), path: z.string().startsWith('/', 'must begin with /').optional() }),
], { error: 'must be HOST:PORT, or an object of host, port, method and path' });

export const PolicyTest: z.ZodType<PolicyTest> = z
  .strictObject({ policy: z.union([z.string().min(1), NetworkPolicy]).optional(), rules: z.union([z.string().min(1), z.array(EgressRule)]).optional(), allow: z.array(Place).optional(), deny: z.array(Place).optional() })
  .refine(({ policy, rules }) => policy !== undefined || rules !== undefined, 'needs policy, rules or both')
  .refine(({ allow = [], deny = [] }) => allow.length + deny.length > 0, 'expects nothing: it needs allow or deny') as z.ZodType<PolicyTest>;

/** One expectation that is not met. */
export interface Unmet {
  readonly expected: 'allow' | 'deny';
  readonly what: string;
  readonly reason: string;
  /** What would meet it. */
  readonly fix: string;
}

/** The layers that a file speaks of. Without rules a call may do all that the policy lets it. */
export function layersToTest(policy: NetworkPolicy | undefined, rules: readonly EgressRule[] | undefined): readonly Layer[] {
  return layersOf(policy, rules === undefined ? { rules: [], learn: true } : { rules });
}

/** The expectations that layers do not meet. */
export function unmet(layers: readonly Layer[], { allow = [], deny = [] }: Pick<PolicyTest, 'allow' | 'deny'>): readonly Unmet[] {
  const judged = (['allow', 'deny'] as const).flatMap((expected) => (expected === 'allow' ? allow : deny).map((place) => judge(layers, placeOf(place), expected)));
  return judged.filter((one) => one !== null);
}

function judge(layers: readonly Layer[], place: Required<Pick<Expected, 'host' | 'port'>> & Expected, expected: 'allow' | 'deny'): Unmet | null {
  const { host, port, method, path } = place;
  const isRequest = method !== undefined || path !== undefined;
  const what = isRequest ? `${method ?? 'GET'} ${host}:${port}${path ?? '/'}` : `${host}:${port}`;
  const opened = decideConnection(layers, { host, port });
  const isRead = opened.effect === 'allow' && isRequest && readsRequests(opened.protocol);
  const decision = isRead ? decideHttp(opened.layers, { method: method ?? 'GET', path: path ?? '/', bodyBytes: null }) : opened;
  if (decision.effect === expected) return null;
  if (decision.effect === 'deny') return { expected, what, reason: decision.reason, fix: decision.wouldAllow };
  const unread = isRequest && !isRead ? `; its requests are not read, for its protocol is ${decision.protocol}` : '';
  const recorded = decision.audit === undefined ? '' : '; what would deny it only records';
  return { expected, what, reason: `${decision.reason}${unread}${recorded}`, fix: 'a rule that denies it, or narrower rules that allow' };
}

function placeOf(place: string | Expected): Expected & { readonly port: number } {
  if (typeof place !== 'string') return { ...place, port: place.port ?? 443 };
  const [, host = place, port = '443'] = /^(.*?)(?::([0-9]{1,5}))?$/.exec(place) ?? [];
  return { host, port: Number(port) };
}

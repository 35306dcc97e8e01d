import { readsRequests, type EgressProtocol } from '@caisson/contract';
import { decideConnection, decideName, type ConnectionAllowed } from './decide.ts';
import { decideHttp } from './http-rules.ts';
import type { Layer } from './layers.ts';
import type { Past, PastAllowed, PastRefused } from './past.ts';

/** What other rules say of a decision that is on record. `unknown`: the record does not hold what they ask for. */
export interface Again {
  readonly effect: 'allow' | 'deny' | 'unknown';
  readonly rule: string | null;
  readonly reason: string;
}

/** Longer paths are cut when they are put on record. */
const PATH_RECORDED = 512;

/** Decides anew what is on record. Budgets and the lengths of bodies are not looked at. */
export function decideAgain(layers: readonly Layer[], past: Past): Again {
  if (past.effect === 'allow') return allowedAgain(layers, past);
  return past.port === null ? told(decideName(layers, past.host)) : refusedAgain(layers, { ...past, port: past.port });
}

function told({ effect, rule, reason }: Again): Again {
  return { effect, rule, reason };
}

function allowedAgain(layers: readonly Layer[], { host, port, protocol, request }: PastAllowed): Again {
  const decision = decideConnection(layers, { host, port });
  if (decision.effect === 'deny') return told(decision);
  const kept = isKept(protocol, decision.protocol);
  if (kept !== 'allow') return { effect: kept, rule: decision.rule, reason: `${protocol} was spoken, and ${host}:${port} is held to ${decision.protocol}` };
  if (!readsRequests(decision.protocol)) return told(decision);
  if (request === null) return looksAtRequests(decision) ? { effect: 'unknown', rule: decision.rule, reason: 'its requests would be read, and are not on record' } : told(decision);
  const asks = decision.layers.some(({ allow, deny }) => [...(allow ?? []), ...deny].some(({ http }) => http?.headers !== undefined || http?.mcp !== undefined));
  if (asks) return { effect: 'unknown', rule: decision.rule, reason: 'fields and messages of the request are not on record, and the rules ask for them' };
  if (request.path.length < PATH_RECORDED) return told(decideHttp(decision.layers, { ...request, bodyBytes: null }));
  return withoutPath(decision, request.method);
}

function refusedAgain(layers: readonly Layer[], { what, host, port, method }: PastRefused & { readonly port: number }): Again {
  const decision = decideConnection(layers, { host, port });
  if (decision.effect === 'deny' || what !== 'request' || !readsRequests(decision.protocol)) return told(decision);
  return withoutPath(decision, method ?? '');
}

/** A request of which only the method is known: whether any path of it passes, and whether they all do. */
function withoutPath({ layers, rule }: ConnectionAllowed, method: string): Again {
  const unknown: Again = { effect: 'unknown', rule, reason: 'the path of the request is not on record, and the rules ask for it' };
  if (layers.some(({ deny }) => deny.some(({ http }) => http?.paths !== undefined))) return unknown;
  const widest = layers.map((layer) => ({
    ...layer,
    allow: layer.allow?.map((one) => {
      const { paths: _, ...http } = one.http ?? {};
      return { ...one, http };
    }) ?? null,
  }));
  const again = told(decideHttp(widest, { method, path: '/', bodyBytes: null }));
  const asks = layers.some(({ allow }) => allow?.some(({ http }) => http?.paths !== undefined) === true);
  return again.effect === 'allow' && asks ? unknown : again;
}

function looksAtRequests({ layers }: ConnectionAllowed): boolean {
  return layers.some(({ allow, deny }) => [...(allow ?? []), ...deny].some(({ http }) => http !== undefined));
}

/** Whether what was spoken is what is asked for. Of `tcp` nothing is known. */
function isKept(spoken: EgressProtocol, asked: EgressProtocol): 'allow' | 'deny' | 'unknown' {
  if (asked === 'tcp' || asked === spoken) return 'allow';
  if (spoken === 'tcp') return 'unknown';
  return (spoken === 'http') === (asked === 'http') ? 'allow' : 'deny';
}

import type { Connection } from './connection.ts';
import { invalidOption } from './errors.ts';
import type { Aborting } from './files.ts';
import type { EgressRule, NetworkInfo, NetworkRequest } from './generated.ts';
import { askJson } from './http.ts';

/**
 * A rule, or the short form of one: `HOST[:PORT][/tls|/http|/https|/tcp]`, such as `api.example.com`, `*.example.com:443` or
 * `db.example.com:5432/tcp`. `https` means that requests are read.
 */
export type Rule = EgressRule | string;

/** What a sandbox may reach. `learn`: any name that the policy does not refuse, for rules to be made of what is on record. */
export type Rules = readonly Rule[] | { readonly rules: readonly Rule[]; readonly learn?: true };

/** Fields of a request, with its rules in either form. */
export type WithRules<T extends { readonly network?: NetworkRequest }> = Omit<T, 'network'> & { readonly network?: Rules };

/**
 * What a sandbox may reach. It can be changed while the sandbox lives, if it was made with a network, of no rules perhaps.
 *
 * @throws CaissonError NETWORK_ABSENT for a sandbox that was made without one
 */
export interface Network {
  /** The rules, the connections that are open, what has passed and what was refused. */
  get(options?: Aborting): Promise<NetworkInfo>;
  /**
   * Puts these rules in the place of those that there are. Resolves when they hold: connections that they do not allow are cut.
   *
   * @throws CaissonError EGRESS_EXCEEDS_POLICY; OPTIONS_INVALID for a text that is no rule
   */
  set(rules: Rules, options?: Aborting): Promise<NetworkInfo>;
  /** Adds rules to those that there are; one that learns goes on with it. Whoever changes them at the same time may be overwritten. */
  allow(...rules: readonly Rule[]): Promise<NetworkInfo>;
}

export function networkOf(connection: Connection, sandbox: string): Network {
  const path = `/v1/sandboxes/${encodeURIComponent(sandbox)}/network`;
  const get = ({ signal }: Aborting = {}): Promise<NetworkInfo> => askJson(connection, { method: 'GET', path, repeatable: true, signal });
  const set = async (rules: Rules, { signal }: Aborting = {}): Promise<NetworkInfo> => askJson(connection, { method: 'PUT', path, json: requestOf(rules), repeatable: true, signal });
  return {
    get,
    set,
    async allow(...more) {
      const added = requestOf(more).rules;
      const { rules, learn } = await get();
      return set({ rules: [...rules, ...added], ...(learn === true && { learn }) });
    },
  };
}

/** A request as the API takes it. @throws CaissonError OPTIONS_INVALID */
export function withRules({ network, ...request }: { readonly network?: Rules }): object {
  return { ...request, ...(network !== undefined && { network: requestOf(network) }) };
}

function requestOf(rules: Rules): NetworkRequest {
  const { rules: all, learn } = 'rules' in rules ? rules : { rules };
  return { rules: all.map((rule) => (typeof rule === 'string' ? ruleOf(rule) : rule)), ...(learn === true && { learn }) };
}

/** The short form; whether the host and port are ones is for Caisson to say. */
function ruleOf(text: string): EgressRule {
  const [, host, port, protocol] = /^([^:/\s]+)(?::([1-9][0-9]{0,4}))?(?:\/(tls|https?|tcp))?$/.exec(text) ?? [];
  if (host === undefined) throw invalidOption(`network: ${JSON.stringify(text)} is not HOST[:PORT][/tls|/http|/https|/tcp], such as api.example.com:443`);
  return { host, ...(port !== undefined && { port: Number(port) }), ...(protocol !== undefined && { protocol: protocol as NonNullable<EgressRule['protocol']> }) };
}

import { Resolver } from 'node:dns/promises';
import { judgeAddress, type AddressException } from './address-judge.ts';
import { parseAddress } from './address.ts';

/** An address that was checked: this one is connected to, and not the name again. */
export interface Checked {
  readonly address: string;
  readonly family: 4 | 6;
  readonly exception: AddressException | null;
}

export type Resolved = { readonly addresses: readonly Checked[] } | { readonly failed: string } | { readonly refused: string };

/** Finds and checks the addresses of a name. */
export type Resolve = (host: string, options: { readonly unsafeAllowPrivate: readonly AddressException[]; readonly resolvers: readonly string[] | undefined }) => Promise<Resolved>;

const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** Longest that an answer is believed, whatever it says of itself, and names that are remembered. */
const REMEMBER_MS = 30_000;
const REMEMBERED_MOST = 4_096;
/** Addresses of a name that are looked at. */
const ADDRESSES_MOST = 16;

interface Answer {
  readonly addresses: readonly string[];
  readonly failed: string | null;
  readonly untilMs: number;
}

/**
 * Asks the servers of the host, or those that the policy names, for IPv4 and IPv6. Every address is judged, and one that may
 * not be connected to spoils the name: a name with a public and a private address is what rebinding looks like.
 */
export function openResolver({ nowMs }: { readonly nowMs: () => number }): Resolve {
  const known = new Map<string, Answer>();

  async function ask(host: string, resolvers: readonly string[] | undefined): Promise<Answer> {
    const key = `${resolvers?.join(' ') ?? ''} ${host}`;
    const fresh = known.get(key);
    if (fresh !== undefined && fresh.untilMs > nowMs()) return fresh;
    const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
    if (resolvers !== undefined) resolver.setServers(resolvers);
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(host, { ttl: true }), resolver.resolve6(host, { ttl: true })]);
    const records = [v4, v6].flatMap((each) => (each.status === 'fulfilled' ? each.value : [])).slice(0, ADDRESSES_MOST);
    const failed = records.length > 0 ? null : codeOf(v4);
    const rememberMs = failed === null ? Math.min(REMEMBER_MS, ...records.map(({ ttl }) => 1_000 * ttl)) : 0;
    const answer = { addresses: records.map(({ address }) => address), failed, untilMs: nowMs() + rememberMs };
    known.delete(key);
    known.set(key, answer);
    const [oldest] = known.keys();
    if (known.size > REMEMBERED_MOST && oldest !== undefined) known.delete(oldest);
    return answer;
  }

  return async (host, { unsafeAllowPrivate, resolvers }) => {
    const { addresses, failed } = await ask(host, resolvers);
    if (failed !== null) return { failed: `${host} has no address: ${failed}` };
    const checked: Checked[] = [];
    for (const text of addresses) {
      const address = parseAddress(text);
      if (address === null) return { refused: `${host} stands for ${text}, which is no address` };
      const judged = judgeAddress(address, unsafeAllowPrivate);
      if ('refused' in judged) return { refused: `${host} stands for an address that is not public: ${judged.refused}` };
      checked.push({ address: address.text, family: address.family, exception: judged.exception });
    }
    return { addresses: checked };
  };
}

function codeOf(result: PromiseSettledResult<unknown>): string {
  if (result.status === 'fulfilled') return 'no records';
  return (result.reason as NodeJS.ErrnoException).code ?? 'no answer';
}

import { createHash } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { readResolver, type NetworkPolicy, type SecureDnsServer } from '@caisson/contract';
import { judgeAddress } from './address-judge.ts';
import { parseAddress } from './address.ts';
import { RECORD, type ServerAnswer } from './dns-answer.ts';
import type { Checked } from './dial.ts';
import { DnsServers } from './dns-servers.ts';
import { Trust } from './proved.ts';

export type Resolved = { readonly addresses: readonly Checked[] } | { readonly failed: string } | { readonly refused: string };

/** What the policy says of looking names up. */
export type ResolvePolicy = Pick<NetworkPolicy, 'unsafeAllowPrivate' | 'resolvers' | 'certificateAuthorities'>;

/** Finds and checks the addresses of a name, for a sandbox. */
export type Resolve = (host: string, policy: ResolvePolicy, sandbox: string) => Promise<Resolved>;

const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** Longest that an answer is believed, whatever it says of itself, and names that are remembered. */
const REMEMBER_MS = 30_000;
const REMEMBERED_MOST = 4_096;
/** Addresses of a name that are looked at. */
const ADDRESSES_MOST = 16;
/** Names that one sandbox has asked for at once, two questions each, and those that wait for their turn. */
const LOOKUPS_MOST = 128;
const LOOKUPS_WAITING_MOST = 1_024;

/** A name, and of whom it is asked: what is known of it counts for those that ask the same servers and trust the same. */
interface Lookup {
  readonly key: string;
  readonly host: string;
  readonly policy: ResolvePolicy;
  readonly digest: string;
}

/** What one sandbox asks for. */
interface Share {
  active: number;
  readonly waiting: (() => void)[];
}

interface Answer {
  readonly addresses: readonly string[];
  readonly failed: string | null;
  readonly untilMs: number;
}

/** Records of both families, and why there are none. */
type Found = { readonly records: readonly { readonly address: string; readonly ttl: number }[] } | { readonly failed: string };

/**
 * Asks the servers of the host, or those that the policy names, for IPv4 and IPv6. Every address is judged, and one that may
 * not be connected to spoils the name: a name with a public and a private address is what rebinding looks like. Servers that
 * are named by TLS or HTTPS are asked in no other way: where none of them answers, names have no address.
 */
export function openResolver({ nowMs }: { readonly nowMs: () => number }): { readonly resolve: Resolve } & Disposable {
  const known = new Map<string, Answer>();
  const asking = new Map<string, Promise<Answer>>();
  const shares = new Map<string, Share>();
  const servers = new DnsServers(nowMs);
  const trust = new Trust();

  async function find(host: string, { resolvers, certificateAuthorities }: ResolvePolicy, digest: string): Promise<Found> {
    const secure = resolvers === undefined ? [] : securedOf(resolvers);
    if (secure.length === 0) return askPlain(host, resolvers);
    const by = { context: trust.of(certificateAuthorities), digest };
    const [v4, v6] = await Promise.all([RECORD.a, RECORD.aaaa].map((type) => servers.ask(secure, { name: host, type }, by)));
    const records = [v4, v6].flatMap((each) => (each !== undefined && 'records' in each ? each.records : []));
    return records.length > 0 ? { records } : { failed: whyNone(v4) };
  }

  /** Who asks for what another asks for already waits with him. */
  function ask({ key, host, policy, digest }: Lookup): Promise<Answer> {
    const begun = remembered(key) ?? asking.get(key);
    if (begun !== undefined) return Promise.resolve(begun);
    const asked = find(host, policy, digest).then((found) => remember(key, found)).finally(() => asking.delete(key));
    asking.set(key, asked);
    return asked;
  }

  function remembered(key: string): Answer | undefined {
    const answer = known.get(key);
    return answer !== undefined && answer.untilMs > nowMs() ? answer : undefined;
  }

  function remember(key: string, found: Found): Answer {
    const records = 'records' in found ? found.records.slice(0, ADDRESSES_MOST) : [];
    const failed = 'failed' in found ? found.failed : null;
    const rememberMs = failed === null ? Math.min(REMEMBER_MS, ...records.map(({ ttl }) => 1_000 * ttl)) : 0;
    const answer = { addresses: records.map(({ address }) => address), failed, untilMs: nowMs() + rememberMs };
    known.delete(key);
    if (rememberMs > 0) known.set(key, answer); // what is over at once would only drive others out
    const [oldest] = known.keys();
    if (known.size > REMEMBERED_MOST && oldest !== undefined) known.delete(oldest);
    return answer;
  }

  /** A sandbox that asks for many names at once waits for its own, and holds up no other. */
  async function inTurn(sandbox: string, look: () => Promise<Answer>): Promise<Answer> {
    const share = shares.get(sandbox) ?? { active: 0, waiting: [] };
    shares.set(sandbox, share);
    if (share.waiting.length >= LOOKUPS_WAITING_MOST) return { addresses: [], failed: 'the sandbox asks for too many names at once', untilMs: 0 };
    if (share.active >= LOOKUPS_MOST) await new Promise<void>((resolve) => void share.waiting.push(resolve));
    else share.active += 1;
    try {
      return await look();
    } finally {
      const next = share.waiting.shift(); // which has the place of this one
      if (next !== undefined) next();
      else if (--share.active === 0) shares.delete(sandbox);
    }
  }

  const resolve: Resolve = async (host, policy, sandbox) => {
    const digest = digestOf(policy.certificateAuthorities);
    const lookup = { key: `${policy.resolvers?.join(' ') ?? ''} ${digest} ${host}`, host, policy, digest };
    const { addresses, failed } = remembered(lookup.key) ?? (await inTurn(sandbox, () => ask(lookup)));
    if (failed !== null) return { failed: `${host} has no address: ${failed}` };
    const checked: Checked[] = [];
    for (const text of addresses) {
      const address = parseAddress(text);
      if (address === null) return { refused: `${host} stands for ${text}, which is no address` };
      const judged = judgeAddress(address, policy.unsafeAllowPrivate ?? []);
      if ('refused' in judged) return { refused: `${host} stands for an address that is not public: ${judged.refused}` };
      checked.push({ address: address.text, family: address.family, exception: judged.exception });
    }
    return { addresses: checked };
  };
  return { resolve, [Symbol.dispose]: () => servers[Symbol.dispose]() };
}

/** Names whom a policy trusts beyond the authorities of the host: what one server has proved counts for those that trust the same. */
function digestOf(certificateAuthorities: readonly string[] = []): string {
  return certificateAuthorities.length === 0 ? '' : createHash('sha256').update(JSON.stringify(certificateAuthorities)).digest('hex');
}

/** The servers that are asked by TLS or HTTPS: all of them, or none (`Resolvers` of the contract). */
function securedOf(resolvers: readonly string[]): readonly SecureDnsServer[] {
  return resolvers.map(readResolver).filter((server) => server !== null && server.transport !== 'plain');
}

async function askPlain(host: string, resolvers: readonly string[] | undefined): Promise<Found> {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (resolvers !== undefined) resolver.setServers(resolvers);
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(host, { ttl: true }), resolver.resolve6(host, { ttl: true })]);
  const records = [v4, v6].flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
  return records.length > 0 ? { records } : { failed: codeOf(v4) };
}

function whyNone(answer: ServerAnswer | { readonly failed: string } | undefined): string {
  if (answer === undefined || 'records' in answer) return 'no records';
  return 'absent' in answer ? answer.absent : 'failed' in answer ? answer.failed : answer.refused;
}

function codeOf(result: PromiseSettledResult<unknown>): string {
  if (result.status === 'fulfilled') return 'no records';
  return (result.reason as NodeJS.ErrnoException).code ?? 'no answer';
}

import type { NetworkPolicy } from '@caisson/contract';
import { embeddedIn, useOf, type AddressUse } from './address-kinds.ts';
import { isWithin, parseCidr, WIDTH, type Address, type Cidr } from './address.ts';

export type AddressException = NonNullable<NetworkPolicy['unsafeAllowPrivate']>[number];

export type AddressJudgement = { readonly ok: true; readonly exception: AddressException | null } | { readonly refused: string };

/**
 * Whether the gate may connect to an address that a name stands for. A public one, yes. Any other only by an exception of the
 * policy whose range holds it, and:
 * - `metadata` takes a range of one address (/32, /128) that names it: no network that happens to hold it opens it;
 * - `loopback` takes a range that is loopback throughout: a wide range means a network, and never this host;
 * - `unspecified` is never opened: it is this host under another name;
 * - an address that stands for IPv4 ones takes the exception for itself, and all of those must be public or open as well. Where
 *   they cannot be known (64:ff9b:1::/48) it takes a range of one address.
 * The exception that opened it goes into the evidence of the connection. Addresses of NAT64 behind a prefix of the network's
 * own (RFC 6052 §2.2) cannot be told from others and count as what they are in IPv6.
 */
export function judgeAddress(address: Address, unsafeAllowPrivate: readonly AddressException[]): AddressJudgement {
  const use = useOf(address);
  if (use.kind === 'public') return { ok: true, exception: null };
  let narrow: string | null = null;
  for (const exception of unsafeAllowPrivate) {
    const range = parseCidr(exception.cidr);
    if (range === null || !isWithin(range, address)) continue;
    const refused = holdsBack({ address, use, range });
    if (refused === null) return embeddedJudgement(address, exception, unsafeAllowPrivate);
    narrow ??= `${exception.cidr} does not open it: ${refused}`;
  }
  return { refused: refusal(address, use, narrow) };
}

/** Why a range that holds an address does not open it; null when it does. */
function holdsBack({ address, use: { kind }, range }: { readonly address: Address; readonly use: AddressUse; readonly range: Cidr }): string | null {
  const isOne = range.prefix === WIDTH[range.family];
  if (kind === 'unspecified') return 'nothing does';
  if (kind === 'metadata' && !isOne) return `that takes /${WIDTH[range.family]}`;
  if (kind === 'loopback' && !LOOPBACK.some((loopback) => range.prefix >= loopback.prefix && isWithin(loopback, range))) return 'that takes a range within 127.0.0.0/8 or ::1/128';
  return embeddedIn(address) === null && !isOne ? 'that takes /128' : null;
}

function embeddedJudgement(address: Address, exception: AddressException, unsafeAllowPrivate: readonly AddressException[]): AddressJudgement {
  for (const inner of embeddedIn(address) ?? []) {
    const judgement = judgeAddress(inner, unsafeAllowPrivate);
    if ('refused' in judgement) return { refused: `${address.text} stands for ${judgement.refused}` };
  }
  return { ok: true, exception };
}

function refusal(address: Address, { kind, why }: AddressUse, narrow: string | null): string {
  const inner = kind === 'embedded' ? (embeddedIn(address) ?? []).map(({ text }) => text).join(' and ') : '';
  const stands = inner === '' ? '' : `, and stands for ${inner}`;
  return `${address.text} is ${kind}: ${why}${stands}${narrow === null ? '' : `; ${narrow}`}`;
}

const LOOPBACK: readonly Cidr[] = ['127.0.0.0/8', '::1/128'].map((text) => parseCidr(text)).filter((range) => range !== null);

import type { EgressAllowed, EgressDenied, Json } from '@caisson/contract';
import type { Checked } from './dial.ts';

const TEXT_MOST = 1_024;

/** What the record says of what is about to pass: by which rule, to which address, and what an audit-only rule thinks of it. */
export function facts({ protocol, rule, reason }: EgressAllowed, to: Checked | undefined, audit: EgressDenied | null): { readonly [name: string]: Json } {
  const exception = to?.exception ?? null;
  return {
    protocol,
    rule,
    reason: reason.slice(0, TEXT_MOST),
    address: to?.address ?? null,
    exception: exception === null ? null : { cidr: exception.cidr, reason: exception.reason },
    wouldBeDenied: audit === null ? null : { rule: audit.rule, reason: audit.reason.slice(0, TEXT_MOST) },
  };
}

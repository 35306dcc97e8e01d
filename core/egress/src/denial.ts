import type { EgressDenied } from '@caisson/contract';
import { DENIALS_URL } from './plan.ts';

export function denial(reason: string, wouldAllow: string, rule: string | null = null): EgressDenied {
  return { effect: 'deny', rule, reason, wouldAllow };
}

/** What an agent is told in words that it can act on: one object of JSON. */
export type DenialBody = Readonly<Record<string, string | null>>;

export function denialBody({ rule, reason, wouldAllow }: EgressDenied): DenialBody {
  return { error: 'EGRESS_DENIED', rule, reason, wouldAllow, hint: 'this is a decision and no fault: trying again does not change it; ask the operator for what wouldAllow names', denials: DENIALS_URL };
}

export function failureBody(detail: string): DenialBody {
  return { error: 'EGRESS_FAILED', detail };
}

/** A whole response, for where no server writes one. */
export function responseText(body: DenialBody): string {
  const text = `${JSON.stringify(body)}\n`;
  const status = body['error'] === 'EGRESS_DENIED' ? '403 Forbidden' : '502 Bad Gateway';
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`;
}

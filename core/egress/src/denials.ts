import type { Approvals } from './approvals.ts';
import type { Refusals } from './refusals.ts';

interface Told {
  readonly refusals: Pick<Refusals, 'list' | 'total'>;
  readonly approvals: Pick<Approvals, 'list'>;
}

/** The latest that is told. */
const TOLD = 100;

/**
 * What a sandbox reads of what was refused to it, and of what it waits for: one line of JSON in printable ASCII, whatever it has
 * tried. It is of one
 * sandbox, found by the address that its packets come from: there is nothing in it of another.
 */
export function denialsText({ refusals, approvals }: Told): string {
  const denials = refusals.list(TOLD).map(({ what, to, rule, reason, wouldAllow = null, count, lastMs }) => ({ what, to, rule, reason, wouldAllow, count, last: new Date(lastMs).toISOString() }));
  const waiting = approvals.list().map(({ id, what, host, port, method, rules, expiresMs }) => ({ approval: id, what, to: `${host}:${port}`, method, rules, until: new Date(expiresMs).toISOString() }));
  const text = JSON.stringify({ total: refusals.total, denials, waiting });
  return `${text.replace(/[^\u0020-\u007e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

/** The same, as one response of HTTP. */
export function denialsResponse(admitted: Told): string {
  const text = denialsText(admitted);
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${text}`;
}

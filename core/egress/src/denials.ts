import type { Admitted } from './admitted.ts';

/** The latest that is told. */
const TOLD = 100;

/**
 * What a sandbox reads of what was refused to it, and of what it waits for, as one response of HTTP. An `Admitted` is one
 * sandbox, found by the address that its packets come from: there is nothing in it of another.
 */
export function denialsResponse({ refusals, approvals }: Pick<Admitted, 'refusals' | 'approvals'>): string {
  const denials = refusals.list(TOLD).map(({ what, to, rule, reason, wouldAllow = null, count, lastMs }) => ({ what, to, rule, reason, wouldAllow, count, last: new Date(lastMs).toISOString() }));
  const waiting = approvals.list().map(({ id, what, host, port, method, rules, expiresMs }) => ({ approval: id, what, to: `${host}:${port}`, method, rules, until: new Date(expiresMs).toISOString() }));
  const text = `${JSON.stringify({ total: refusals.total, denials, waiting })}\n`;
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${text}`;
}

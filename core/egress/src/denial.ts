import type { EgressDenied } from '@caisson/contract';
import { DENIALS_URL } from './plan.ts';
import type { McpRead } from './mcp.ts';

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

/** Code of an error of JSON-RPC that is the server's own (JSON-RPC 2.0 §5.1). */
const RPC_DENIED = -32_001;

/**
 * The answer to a body of JSON-RPC that was denied, in its own words: an agent hears of the one call that it may not make, and its
 * session goes on, where a status of HTTP would end that in many clients. Null: nobody waits for an answer of this kind.
 */
export function rpcDenial(body: DenialBody, mcp: McpRead | undefined): string | null {
  if (mcp === undefined || mcp === null || 'unclear' in mcp) return null;
  const { reason, wouldAllow } = body;
  const error = { code: RPC_DENIED, message: `${reason ?? 'denied'}; what would be allowed: ${wouldAllow ?? 'nothing'}`, data: body };
  const answers = mcp.messages.flatMap(({ id }) => (id === null ? [] : [{ jsonrpc: '2.0', id, error }]));
  if (answers.length === 0) return null;
  return `${JSON.stringify(mcp.isBatch ? answers : answers[0])}\n`;
}

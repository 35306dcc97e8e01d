import type { Entry, EntryBody } from '@caisson/contract';
import { addTo, rowOf, short } from './report-rows.ts';
import type { AgentRow, Listed, Tally, Who } from './report-shape.ts';

type BodyOf<Is extends EntryBody['is']> = Extract<EntryBody, { readonly is: Is }>['body'];
type Egress = BodyOf<'egress'>;
type Lifecycle = BodyOf<'lifecycle'>;

/** What is counted of one entry, by what its body says. */
export function countBody(tally: Tally, entry: Entry, read: EntryBody | null, who: Who | undefined): void {
  const listed: Listed = { index: entry.index, timeMs: entry.timeMs, subject: entry.subject, agent: who?.agent ?? null };
  countName(tally.kinds, nameOf(entry, read));
  countRead(tally, listed, read, who === undefined ? undefined : agentOf(tally, who.agent));
}

function countRead(tally: Tally, listed: Listed, read: EntryBody | null, agent: AgentRow | undefined): void {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': return countIntent(tally, listed, read, agent);
    case 'outcome': return countOutcome(tally, listed, read.body, agent);
    case 'lifecycle': return countLifecycle(tally, listed, read.body);
    case 'egress': return countEgress(tally, read.body, agent);
    case 'alert': return addTo(tally.alerts, { ...listed, alert: short(read.body.alert), severity: read.body.severity ?? null, reason: short(read.body.reason ?? '') });
    case 'heartbeat': return;
    case undefined: return addTo(tally.unread, listed);
  }
}

function nameOf({ kind }: Entry, read: EntryBody | null): string {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': return `${kind} ${read.is}`;
    case 'lifecycle':
    case 'egress': return `${kind} ${read.body.event}`;
    case undefined: return `${kind} (not known)`;
    default: return kind;
  }
}

function countName(rows: Tally['kinds'], said: string): void {
  const name = short(said);
  const row = rowOf(rows, name, () => ({ name, count: 0 }));
  if (row !== undefined) row.count += 1;
}

function agentOf({ agents }: Tally, agent: string): AgentRow | undefined {
  return rowOf(agents, agent, () => ({ agent, calls: 0, sandboxes: 0, execs: 0, denied: 0, failed: 0, unknown: 0, connections: 0, requests: 0, refused: 0, bytesOut: 0, bytesIn: 0 }));
}

const COUNTED = { call: 'calls', sandbox: 'sandboxes', exec: 'execs' } as const;

function countIntent(tally: Tally, listed: Listed, { is, body }: Extract<EntryBody, { readonly is: 'call' | 'sandbox' | 'exec' }>, agent: AgentRow | undefined): void {
  if (agent !== undefined) agent[COUNTED[is]] += 1;
  const { decision } = body;
  if (decision !== undefined) {
    const { effect } = decision;
    const rule = short(decision.rule);
    const row = rowOf(tally.decisions, `${effect} ${rule}`, () => ({ effect, rule, count: 0 }));
    if (row !== undefined) row.count += 1;
  }
  if (decision?.effect === 'deny') {
    if (agent !== undefined) agent.denied += 1;
    return addTo(tally.denied, { ...listed, what: is, program: 'program' in body ? short(String(body.program)) : '', rule: short(decision.rule), reason: short(decision.reason) });
  }
  if ('secrets' in body) for (const secret of body.secrets as readonly string[]) countSecret(tally, secret, 'leases');
}

/** What ends so has come to its end by itself, or by whoever asked for it; a refusal is counted as a denial. */
const GOOD = new Set(['exited', 'closed', 'cancelled', 'refused']);

function countOutcome(tally: Tally, listed: Listed, { ending }: BodyOf<'outcome'>, agent: AgentRow | undefined): void {
  countName(tally.endings, ending.kind);
  const isUnknown = ending.kind === 'unknown';
  if (isUnknown) addTo(tally.unknown, { ...listed, detail: short(ending.detail ?? '') });
  if (agent === undefined) return;
  agent.failed += GOOD.has(ending.kind) ? 0 : 1;
  agent.unknown += isUnknown ? 1 : 0;
}

const SECRET_SUBJECT = 'secret ';

function countLifecycle(tally: Tally, { subject }: Listed, body: Lifecycle): void {
  switch (body.event) {
    case 'secret-revoked': return countSecret(tally, body.secret, 'revocations');
    case 'secret-rotated': return countSecret(tally, subject.startsWith(SECRET_SUBJECT) ? subject.slice(SECRET_SUBJECT.length) : subject, 'rotations');
    case 'approval': return countName(tally.approvals, body.decision);
    default:
  }
}

function countSecret({ secrets }: Tally, said: string, field: 'leases' | 'uses' | 'rotations' | 'revocations'): void {
  const secret = short(said);
  const row = rowOf(secrets, secret, () => ({ secret, leases: 0, uses: 0, rotations: 0, revocations: 0 }));
  if (row !== undefined) row[field] += 1;
}

function countEgress(tally: Tally, body: Egress, agent: AgentRow | undefined): void {
  switch (body.event) {
    case 'connect':
      if (agent !== undefined) agent.connections += 1;
      return countAllowed(tally, body, 'connections');
    case 'not-connected': return countAllowed(tally, body, 'notConnected');
    case 'request':
      if (agent !== undefined) agent.requests += 1;
      for (const { secret } of body.secrets) countSecret(tally, secret, 'uses');
      return countAllowed(tally, body, 'requests');
    case 'closed':
      if (agent === undefined) return;
      agent.bytesOut = plus(agent.bytesOut, body.bytesOut);
      agent.bytesIn = plus(agent.bytesIn, body.bytesIn);
      return;
    case 'refused': return countRefused(tally, agent, { ...body, more: 1 });
    case 'refused-again':
      for (const { more, what, to } of body.again) countRefused(tally, agent, { what: String(what), to: String(to), rule: null, reason: '', more });
      tally.refused.beyond += body.others;
      if (agent !== undefined) agent.refused = plus(agent.refused, body.others);
      return;
    case 'held': return countName(tally.approvals, 'held');
    case 'dismissed': return;
  }
}

function plus(sum: number, more: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, sum + more);
}

function countAllowed({ allowed }: Tally, { host, port }: { readonly host: string; readonly port: number }, field: 'connections' | 'requests' | 'notConnected'): void {
  const to = short(`${host}:${port}`);
  const row = rowOf(allowed, to, () => ({ to, connections: 0, requests: 0, notConnected: 0 }));
  if (row !== undefined) row[field] += 1;
}

interface Refusal {
  readonly what: string;
  readonly to: string;
  readonly rule: string | null;
  readonly reason: string;
  readonly more: number;
}

function countRefused({ refused }: Tally, agent: AgentRow | undefined, { what, to, rule, reason, more }: Refusal): void {
  if (agent !== undefined) agent.refused = plus(agent.refused, more);
  const place = { what: short(what), to: short(to) };
  const row = rowOf(refused, `${place.what} ${place.to}`, () => ({ ...place, rule: rule === null ? null : short(rule), reason: short(reason), count: 0 }));
  if (row === undefined) refused.beyond += more - 1;
  else row.count = plus(row.count, more);
}

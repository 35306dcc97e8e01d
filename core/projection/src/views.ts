import { createHash } from 'node:crypto';
import { canonicalJson, readEntryBody, type Entry, type EntryBody, type Json } from '@caisson/contract';

/** A record as Rynxs wrote them to /workspace/audit.jsonl: one for each call of a tool. */
export interface AuditRecord {
  /** Seconds since 1970 UTC, with the milliseconds that are known. It is for reading: what is signed and hashed is the entry. */
  readonly t: number;
  readonly agent: string;
  readonly ns: string;
  readonly tool: string;
  readonly allowed: boolean;
  /** Only of what was refused. */
  readonly reason?: string;
  /** The salted commitment to the request: Rynxs' own digest of arguments could be guessed. */
  readonly args_sha256: string;
  /** Where it ran; null: nowhere, because it was refused. */
  readonly sandbox_job: string | null;
}

const NAMESPACE = 'caisson';

/** The Rynxs audit record of an intent of a call or an exec; null for every other entry. Output is not in it: previews leak, and digests stand in the outcome. */
export function auditView(entry: Entry): AuditRecord | null {
  const read = readEntryBody(entry);
  if (read?.is !== 'call' && read?.is !== 'exec') return null;
  const { caller, decision, request } = read.body;
  const allowed = decision?.effect !== 'deny';
  const job = read.is === 'exec' ? read.body.sandbox : entry.subject;
  return {
    t: entry.timeMs / 1000,
    agent: caller,
    ns: NAMESPACE,
    tool: 'sandbox.shell',
    allowed,
    ...(!allowed && decision !== undefined && { reason: decision.reason }),
    args_sha256: request,
    sandbox_job: allowed ? job : null,
  };
}

/** An event as Rynxs' event log has them. */
export interface EventRecord {
  readonly prev_hash: string;
  /** SHA-256 of prev_hash and the canonical JSON of the event, hex. */
  readonly event_hash: string;
  readonly event: {
    readonly type: string;
    /** NAMESPACE/NAME of what the event is of. */
    readonly aggregate_id: string;
    /** Logical time: the position in the log. */
    readonly ts: number;
    readonly seq: number;
    readonly payload: Json;
    readonly meta: { readonly [name: string]: Json };
    readonly hash_version: 'v2';
  };
}

/** What an event log has as prev_hash before its first event. */
export const EVENT_GENESIS = '0'.repeat(64);

/** The Rynxs event record of an entry, chained to the hash of the one before it by the rule of that log (hash version 2). The chain of the view is its own. */
export function eventView(entry: Entry, prev: string = EVENT_GENESIS): EventRecord {
  const { index, timeMs, kind, source, subject, body } = entry;
  const event: EventRecord['event'] = {
    type: eventType(kind, readEntryBody(entry)),
    aggregate_id: `${NAMESPACE}/${subject}`,
    ts: index,
    seq: index,
    payload: body,
    meta: { source, time_ms: timeMs },
    hash_version: 'v2',
  };
  const hash = createHash('sha256').update(prev).update(canonicalJson(event)).digest('hex');
  return { prev_hash: prev, event_hash: hash, event };
}

const FAILED = new Set(['failed', 'refused', 'unknown']);

/** Rynxs' four types where one fits: an intent is a decision about an action, an outcome what came of it; else the kind. */
function eventType(kind: string, read: EntryBody | null): string {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': return 'ActionsDecided';
    case 'outcome': return FAILED.has(read.body.ending.kind) ? 'ActionFailed' : 'ActionApplied';
    case 'lifecycle':
    case 'egress': return `${kind}.${read.body.event}`;
    case 'alert':
    case 'heartbeat':
    case undefined: return kind;
  }
}

import type { EntryBody } from '@caisson/contract';

/** How much an entry asks to be looked at. */
export type Weight = 'info' | 'warning' | 'error' | 'critical';

const OF_ALERT = { info: 'info', warning: 'warning', critical: 'critical' } as const;
const GOOD = new Set(['exited', 'closed', 'cancelled']);
const REFUSED = new Set(['refused', 'refused-again']);

export function weightOf(read: EntryBody | null): Weight {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': return read.body.decision?.effect === 'deny' ? 'warning' : 'info';
    case 'outcome': return ofEnding(read.body.ending.kind);
    case 'egress': return REFUSED.has(read.body.event) ? 'warning' : 'info';
    case 'alert': return OF_ALERT[read.body.severity ?? 'warning'];
    case undefined: return 'warning';
    default: return 'info';
  }
}

function ofEnding(ending: string): Weight {
  if (ending === 'unknown') return 'error';
  return GOOD.has(ending) ? 'info' : 'warning';
}

/** Name of what an entry tells, such as `intent.exec` or `egress.refused`. */
export function eventName(kind: string, read: EntryBody | null): string {
  switch (read?.is) {
    case 'call':
    case 'sandbox':
    case 'exec': return `${kind}.${read.is}`;
    case 'lifecycle':
    case 'egress': return `${kind}.${read.body.event}`;
    default: return kind;
  }
}

/** Who called, where the body itself says it. */
export function callerOf(read: EntryBody | null): string | undefined {
  return read !== null && 'caller' in read.body && typeof read.body.caller === 'string' ? read.body.caller : undefined;
}

import { CaissonError } from '@caisson/contract';
import type { Line } from '@caisson/evidence';
import { auditView, EVENT_GENESIS, eventView } from '@caisson/projection';

/** One entry after the other as a line of JSON; undefined: the shape has none for it. */
export type Shape = (line: Line) => string | undefined;

/**
 * The record shapes of Rynxs, by name: `rynxs`, its audit.jsonl, which has a record for every call and exec; `events`, its event log,
 * in which each record is chained to the one before, so that it has to be given every line from the first on.
 *
 * @throws CaissonError USAGE for another name
 */
export function viewShape(view: string): Shape {
  if (view === 'rynxs') {
    return ({ entry }) => {
      const record = auditView(entry);
      return record === null ? undefined : JSON.stringify(record);
    };
  }
  if (view !== 'events') throw new CaissonError('USAGE', { detail: `--view ${view} is neither rynxs nor events` });
  let prev = EVENT_GENESIS;
  return ({ entry }) => {
    const record = eventView(entry, prev);
    prev = record.event_hash;
    return JSON.stringify(record);
  };
}

/** Where a view has to be read from, to be right from `from` on. */
export function viewStart(view: string | undefined, from: number): number {
  return view === 'events' ? 0 : from;
}

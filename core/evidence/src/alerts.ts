import { readEntryBody, type Alert, type Entry } from '@caisson/contract';

/** Alerts that are kept, the latest. */
const KEPT = 20;

/** The alerts that nothing has cleared, with this entry. One that clears names what is over. */
export function withAlert(alerts: readonly Alert[], { kind, body, timeMs }: Pick<Entry, 'kind' | 'body' | 'timeMs'>): readonly Alert[] {
  if (kind !== 'alert') return alerts;
  const read = readEntryBody({ kind, body });
  if (read?.is !== 'alert') return alerts;
  const { alert, severity = 'warning', about = [], reason = '', cleared = false } = read.body;
  if (cleared) return alerts.filter((each) => each.alert !== alert);
  return [...alerts, { alert, severity, about, reason, timeMs }].slice(-KEPT);
}

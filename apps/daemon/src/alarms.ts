import { readStatus } from '@caisson/archive/status';
import type { EntryDraft, EvidenceLog } from '@caisson/contract';
import { readStampingStatus } from '@caisson/timestamp/status';
import { readFeedStatus } from '@caisson/witness/status';

const LOOK_MS = 1_000;
const MAX_REASON_CHARS = 1_000;

interface Alarm {
  /** One of a name is told once for as long as it lasts. */
  readonly alert: string;
  readonly about: string;
  readonly reason: string;
  /** Default: critical. */
  readonly severity?: 'warning' | 'critical';
}

/**
 * Records what the archiver and the feeder have found out about the log itself: that another writes in its archive, that a
 * witness was shown another log of its name, or that it is not the one of which a head is time-stamped; and that mirrors of it are
 * not written. They cannot write in the log, so the scribe, which reads what they say, does.
 *
 * @param mirrors asks what is wrong with the mirrors; null: there are none
 */
export function watchAlarms(log: EvidenceLog, mirrors: (() => string | null) | null): Disposable {
  let told: Map<string, Alarm> | undefined;
  let telling: Promise<void> | undefined;
  const lookNow = async (): Promise<void> => look(log, (told ??= await toldBefore(log)), mirrorAlarms(mirrors?.() ?? null));
  const timer = setInterval(() => {
    telling ??= lookNow().catch(() => undefined).finally(() => { telling = undefined; }); // tried again at the next look
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** What the log has been told already, by a scribe before this one, and nothing has cleared. */
async function toldBefore(log: EvidenceLog): Promise<Map<string, Alarm>> {
  const alerts = (await log.alerts?.()) ?? [];
  const own = alerts.filter(({ alert, about }) => about.some((part) => alert.startsWith(`${part}-`) && ['archive', 'witness', 'timestamp', 'mirror'].includes(part)));
  return new Map(own.map(({ alert, about: [about = ''], reason }) => [alert, { alert, about, reason }]));
}

async function look(log: EvidenceLog, told: Map<string, Alarm>, ofMirrors: readonly Alarm[]): Promise<void> {
  const now = new Map([...archiveAlarms(), ...witnessAlarms(), ...timestampAlarms(), ...ofMirrors].map((alarm) => [alarm.alert, alarm]));
  for (const [name, alarm] of told) {
    if (now.has(name)) continue;
    await log.append(draftOf({ ...alarm, reason: 'it is no longer so' }, true));
    told.delete(name);
  }
  for (const [name, alarm] of now) {
    if (told.has(name)) continue;
    await log.append(draftOf(alarm, false));
    told.set(name, alarm);
  }
}

function draftOf({ alert, about, reason, severity = 'critical' }: Alarm, cleared: boolean): EntryDraft {
  const body = { alert, severity: cleared ? 'info' : severity, about: [about], reason: reason.toWellFormed().slice(0, MAX_REASON_CHARS), ...(cleared ? { cleared } : {}) };
  return { kind: 'alert', source: 'scribe', subject: 'scribe', body };
}

function archiveAlarms(): readonly Alarm[] {
  const status = readStatus('archive/status.json');
  if (status === null || !['fenced', 'forked', 'damaged'].includes(status.state)) return [];
  return [{ alert: `archive-${status.state}`, about: 'archive', reason: status.detail ?? status.state }];
}

function witnessAlarms(): readonly Alarm[] {
  const witnesses = readFeedStatus('witness/status.json')?.witnesses ?? [];
  const alarming = witnesses.filter(({ state }) => state === 'fork' || state === 'rollback');
  return alarming.map(({ name, state, detail }) => ({ alert: `witness-${state} ${name}`, about: 'witness', reason: `${name}: ${detail ?? state}` }));
}

function timestampAlarms(): readonly Alarm[] {
  const alarms = readStampingStatus('timestamps/status.json')?.alarms ?? [];
  return alarms.map(({ alarm, detail }) => ({ alert: `timestamp-${alarm}`, about: 'timestamp', reason: detail }));
}

function mirrorAlarms(trouble: string | null): readonly Alarm[] {
  return trouble === null ? [] : [{ alert: 'mirror-behind', about: 'mirror', reason: trouble, severity: 'warning' }];
}

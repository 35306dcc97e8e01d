import { readStatus } from '@caisson/archive/status';
import type { EntryDraft, EvidenceLog } from '@caisson/contract';
import { readFeedStatus } from '@caisson/witness/status';

const LOOK_MS = 1_000;

interface Alarm {
  /** One alarm is told once for as long as it lasts. */
  readonly key: string;
  readonly alert: string;
  readonly detail: string;
}

/**
 * Records what the archiver and the feeder have found out about the log itself: that another writes in its archive, or that a
 * witness was shown another log of its name. They cannot write in the log, so the scribe, which reads what they say, does.
 */
export function watchAlarms(log: EvidenceLog): Disposable {
  let told = new Set<string>();
  let telling: Promise<void> | undefined;
  const look = async (): Promise<void> => {
    const alarms = [...archiveAlarms(), ...witnessAlarms()];
    const still = new Set(alarms.map(({ key }) => key).filter((key) => told.has(key)));
    told = still;
    for (const { key, alert, detail } of alarms.filter((alarm) => !still.has(alarm.key))) {
      await log.append(draftOf(alert, detail));
      told.add(key);
    }
  };
  const timer = setInterval(() => {
    telling ??= look().catch(() => undefined).finally(() => { telling = undefined; }); // tried again at the next look
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function draftOf(alert: string, detail: string): EntryDraft {
  return { kind: 'alert', source: 'scribe', subject: 'log', body: { alert, severity: 'critical', detail: detail.slice(0, 1_000) } };
}

function archiveAlarms(): readonly Alarm[] {
  const status = readStatus('archive/status.json');
  if (status === null || !['fenced', 'forked', 'damaged'].includes(status.state)) return [];
  return [{ key: `archive ${status.state}`, alert: `the archive of the log is ${status.state}`, detail: status.detail ?? '' }];
}

function witnessAlarms(): readonly Alarm[] {
  const witnesses = readFeedStatus('witness/status.json')?.witnesses ?? [];
  return witnesses.filter(({ state }) => state === 'fork' || state === 'rollback').map(({ name, state, detail }) => ({
    key: `witness ${name} ${state}`,
    alert: state === 'fork' ? 'a witness has seen another log of this name' : 'a witness has seen more of this log than there is here',
    detail: `${name}: ${detail ?? ''}`,
  }));
}

import { setTimeout as sleep } from 'node:timers/promises';
import { Alert, CaissonError, Receipt, type EntryDraft, type EvidenceLog, type Json } from '@caisson/contract';
import { Caller } from '@caisson/wire';
import { numbering } from './origin.ts';

const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 250;

export interface RemoteLogOptions {
  /** How long a scribe that does not answer is asked again, in milliseconds from when it was first missed. Default 5_000. */
  readonly giveUpAfterMs?: number;
  /** How long a scribe that holds the connection may take for one answer, in milliseconds. Default 10_000. */
  readonly silentMs?: number;
  /**
   * Says every so often which of its entries are settled, as an entry of kind heartbeat: then an entry of this process that is
   * missing from the log shows. What the process itself counts of its entries goes with it. Default: it does not.
   */
  readonly heartbeat?: { readonly source: string; readonly everyMs: number; readonly counts?: () => { readonly [name: string]: Json } };
}

/**
 * The log of a scribe, over its socket. Every entry says where it stands among those of this run. When the scribe goes away in
 * the middle of a call, the call is made again, and an entry that is already recorded is not recorded twice.
 *
 * Every call throws CaissonError EVIDENCE_UNAVAILABLE when no scribe answers in time, or after it was disposed.
 */
export function remoteLog(socketPath: string, { giveUpAfterMs = 5_000, silentMs = 10_000, heartbeat }: RemoteLogOptions = {}): EvidenceLog & Disposable {
  const caller = new Caller(socketPath);
  const { number, settle, standing } = numbering();
  const disposed = new AbortController();
  /** The wait for a scribe that is away. All wait for the same, so that what was told first is told first again. */
  let waiting: Promise<void> | undefined;
  let headBefore: Promise<number> | undefined;

  async function ask(verb: string, parameters: unknown): Promise<unknown> {
    let giveUpAtMs: number | undefined;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      if (waiting !== undefined) await waiting;
      if (disposed.signal.aborted) throw unavailable('the connection to the scribe is closed');
      try {
        return await answerWithin(silentMs, caller.call(verb, parameters));
      } catch (error) {
        if (!(error instanceof CaissonError) || error.code !== 'DAEMON_UNREACHABLE') throw error;
        giveUpAtMs ??= performance.now() + giveUpAfterMs;
        if (performance.now() >= giveUpAtMs) throw unavailable(`no scribe answers at ${socketPath}`, error);
      }
      waiting ??= sleep(Math.min(waitMs, giveUpAtMs - performance.now()), undefined, { signal: disposed.signal }).catch(() => undefined).then(() => {
        waiting = undefined;
      });
    }
  }

  /** The last entry before this run said anything; -1: there was none. */
  function indexBefore(): Promise<number> {
    headBefore ??= ask('head', {}).then((head) => (head === null ? -1 : parseReceipt(head).index));
    headBefore.catch(() => (headBefore = undefined));
    return headBefore;
  }

  async function append(draft: EntryDraft): Promise<Receipt> {
    const numbered = number(draft);
    try {
      // Asked on the same connection just before, and not waited for: a scribe that is only stopped records what waits for it.
      const asked = heartbeat === undefined ? undefined : indexBefore();
      const receipt = parseReceipt(await ask('append', numbered));
      const before = (await asked?.catch(() => undefined)) ?? -1;
      // What an earlier run has put on record is not there a second time: no entry has this number.
      settle(numbered.origin, receipt.index > before);
      if (receipt.index <= before) owesWord = true;
      sayWhatFailed();
      return receipt;
    } catch (error) {
      settle(numbered.origin, false);
      owesWord = true;
      throw error;
    }
  }

  // What it cannot say now it says the next time: each heartbeat speaks of all before it.
  const sayStanding = (): void => {
    if (heartbeat === undefined) return;
    append({ kind: 'heartbeat', source: heartbeat.source, subject: heartbeat.source, body: { ...standing(), ...heartbeat.counts?.() } }).catch(() => undefined);
  };
  /** What has failed is said as soon as that is possible: a process that ends before its next heartbeat would leave a gap that nobody explains. */
  const sayWhatFailed = (): void => {
    if (!owesWord) return;
    owesWord = false;
    sayStanding();
  };
  let owesWord = false;
  const beat = heartbeat === undefined ? undefined : setInterval(sayStanding, heartbeat.everyMs).unref();

  return {
    append,
    openIntents: async () => parseSubjects(await ask('openIntents', {})),
    head: async () => {
      const head = await ask('head', {});
      return head === null ? null : parseReceipt(head);
    },
    alerts: async () => parseAlerts(await ask('alerts', {})),
    [Symbol.dispose]() {
      clearInterval(beat);
      disposed.abort();
      caller[Symbol.dispose]();
    },
  };
}

/** A scribe that is stopped or stuck keeps its connection open and says nothing: to its caller that is no record. */
async function answerWithin<T>(limitMs: number, answer: Promise<T>): Promise<T> {
  const { promise: silence, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(unavailable(`the scribe has not answered within ${limitMs} ms`)), limitMs);
  try {
    return await Promise.race([answer, silence]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined); // an answer that comes too late is nobody's
  }
}

function parseReceipt(value: unknown): Receipt {
  const receipt = Receipt.safeParse(value);
  if (!receipt.success) throw new CaissonError('FRAME_INVALID', { detail: 'the scribe answered with something that is not a receipt' });
  return receipt.data;
}

function parseSubjects(value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((subject) => typeof subject === 'string')) return value;
  throw new CaissonError('FRAME_INVALID', { detail: 'the scribe answered with something that is not a list of subjects' });
}

function parseAlerts(value: unknown): readonly Alert[] {
  const alerts = Array.isArray(value) ? value.map((alert) => Alert.safeParse(alert)) : [];
  if (!Array.isArray(value) || alerts.some(({ success }) => !success)) throw new CaissonError('FRAME_INVALID', { detail: 'the scribe answered with something that is not a list of alerts' });
  return alerts.flatMap(({ data }) => data ?? []);
}

function unavailable(detail: string, cause?: Error): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail }, { cause });
}

import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, Receipt, type EntryDraft, type EvidenceLog } from '@caisson/contract';
import { Caller } from '@caisson/wire';

const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 250;

export interface RemoteLogOptions {
  /** How long a scribe that does not answer is asked again, in milliseconds from when it was first missed. Default 5_000. */
  readonly giveUpAfterMs?: number;
  /** How long a scribe that holds the connection may take for one answer, in milliseconds. Default 10_000. */
  readonly silentMs?: number;
}

/**
 * The log of a scribe, over its socket. When the scribe goes away in the middle of a call, the call is made again: an
 * intent or outcome that is already recorded is not recorded twice. A lifecycle entry may then be in the log twice.
 *
 * Every call throws CaissonError EVIDENCE_UNAVAILABLE when no scribe answers in time, or after it was disposed.
 */
export function remoteLog(socketPath: string, { giveUpAfterMs = 5_000, silentMs = 10_000 }: RemoteLogOptions = {}): EvidenceLog & Disposable {
  const caller = new Caller(socketPath);
  const disposed = new AbortController();

  async function ask(verb: string, parameters: unknown): Promise<unknown> {
    let giveUpAtMs: number | undefined;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      if (disposed.signal.aborted) throw unavailable('the connection to the scribe is closed');
      try {
        return await answerWithin(silentMs, caller.call(verb, parameters));
      } catch (error) {
        if (!(error instanceof CaissonError) || error.code !== 'DAEMON_UNREACHABLE') throw error;
        giveUpAtMs ??= performance.now() + giveUpAfterMs;
        if (performance.now() >= giveUpAtMs) throw unavailable(`no scribe answers at ${socketPath}`, error);
      }
      await sleep(Math.min(waitMs, giveUpAtMs - performance.now()), undefined, { signal: disposed.signal }).catch(() => undefined);
    }
  }

  return {
    append: async (draft: EntryDraft) => parseReceipt(await ask('append', draft)),
    openIntents: async () => parseSubjects(await ask('openIntents', {})),
    head: async () => {
      const head = await ask('head', {});
      return head === null ? null : parseReceipt(head);
    },
    [Symbol.dispose]() {
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

function unavailable(detail: string, cause?: Error): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail }, { cause });
}

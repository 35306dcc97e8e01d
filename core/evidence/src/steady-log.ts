import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, type Alert, type EntryDraft, type EvidenceLog, type Receipt } from '@caisson/contract';
import type { FileLog } from './file-log.ts';
import { openIfThere, OWNER_ONLY, writeFiles } from './folder.ts';
import { journalName, journalsIn } from './journal.ts';
import { lockDirectory } from './lock.ts';
import { openFileLog, type FileLogOptions } from './open.ts';
import { Unwritten } from './unwritten.ts';

/** How long a folder that could not be used is left alone. */
const AGAIN_MS = 1_000;

/**
 * The log of a folder that may fail for a while. When nobody can say any more what the disk holds the log is closed and opened
 * again, until that works; meanwhile whoever asks is told why, and nothing is recorded. Damage is for good.
 */
export class SteadyLog implements EvidenceLog, AsyncDisposable {
  readonly #options: FileLogOptions;
  readonly #unwritten: Unwritten;
  readonly #closing = new AbortController();
  #log: FileLog | null = null;
  #why = unavailable('the log is not open yet');
  #alerts: readonly Alert[] = [];
  #opening: Promise<void> | undefined;

  private constructor(options: FileLogOptions) {
    this.#options = options;
    this.#unwritten = new Unwritten(options.now);
  }

  /** @throws CaissonError EVIDENCE_UNAVAILABLE unless `isPatient`, EVIDENCE_DAMAGED */
  static async open(options: FileLogOptions, { isPatient }: { readonly isPatient: boolean }): Promise<SteadyLog> {
    const steady = new SteadyLog(options);
    try {
      steady.#take(await openFileLog(options));
    } catch (error) {
      if (!isPatient || !isUnavailable(error)) throw error;
      steady.#lose(error, null);
    }
    return steady;
  }

  async append(draft: EntryDraft): Promise<Receipt> {
    if (this.#log === null) this.#unwritten.failed(1, this.#why.message);
    return this.#here.append(draft);
  }

  async openIntents(): Promise<readonly string[]> {
    return this.#here.openIntents();
  }

  async head(): Promise<Receipt | null> {
    return this.#here.head();
  }

  async alerts(): Promise<readonly Alert[]> {
    return this.#log === null ? [...this.#alerts, ...this.#unwritten.alerts] : this.#log.alerts();
  }

  get #here(): FileLog {
    if (this.#log === null) throw this.#why;
    return this.#log;
  }

  #take(log: FileLog): void {
    this.#log = log;
    log.onStuck = (reason) => {
      void log.alerts().then((alerts) => (this.#alerts = alerts.filter(({ alert }) => alert !== this.#unwritten.alert)));
      this.#lose(unavailable(reason), log);
    };
    const body = this.#unwritten.recovered();
    if (body !== null) log.append({ kind: 'alert', source: 'scribe', subject: 'scribe', body }).catch(() => undefined);
  }

  #lose(why: CaissonError, log: FileLog | null): void {
    this.#log = null;
    this.#why = why;
    this.#unwritten.failed(0, why.message);
    this.#opening ??= this.#openAgain(log).finally(() => (this.#opening = undefined));
  }

  async #openAgain(stuck: FileLog | null): Promise<void> {
    await stuck?.[Symbol.asyncDispose]().catch(() => undefined);
    while (!this.#closing.signal.aborted) {
      try {
        if (stuck !== null) await writeJournalAnew(this.#options.dir);
        return this.#take(await openFileLog(this.#options));
      } catch (error) {
        this.#why = error instanceof CaissonError ? error : unavailable((error as Error).message);
        if (!isUnavailable(this.#why)) return;
      }
      await sleep(AGAIN_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#opening;
    await this.#log?.[Symbol.asyncDispose]();
    this.#why = unavailable('the log is closed');
  }
}

/**
 * After a sync that failed the kernel may show bytes that the disk does not have, and call them clean: they are written anew, to
 * another file that takes the place of the first, before anything is said to be in the log because of them.
 */
async function writeJournalAnew(dir: string): Promise<void> {
  await using directory = await open(dir);
  await lockDirectory(directory, dir);
  const first = (await journalsIn(dir)).at(-1);
  if (first === undefined) return;
  await using file = await openIfThere(`${dir}/${journalName(first)}`);
  if (file !== null) await writeFiles(dir, [{ path: journalName(first), bytes: await file.readFile() }], OWNER_ONLY);
}

function isUnavailable(error: unknown): error is CaissonError {
  return error instanceof CaissonError && error.code === 'EVIDENCE_UNAVAILABLE';
}

function unavailable(detail: string): CaissonError {
  return new CaissonError('EVIDENCE_UNAVAILABLE', { detail });
}

import { readEntryBody, type Entry, type EntryBody } from '@caisson/contract';
import { enterSeq, newRun, unexplained, type Run } from './runs.ts';

/** An entry that points to nothing, or to something else than it may. */
export interface BadPointer {
  readonly index: number;
  readonly subject: string;
  readonly why: string;
}

interface Opened {
  readonly what: 'call' | 'sandbox' | 'exec';
  readonly denied: boolean;
  /** An exec of a sandbox whose outcome stood before it. */
  readonly late: boolean;
  readonly index: number;
}

/** How many sandboxes that have ended are remembered: an exec, and what the gate tells, may cross its sandbox's outcome. */
const ENDED_KEPT = 4096;
const RUNS_KEPT = 256;

/** What a command has come to that ran: in a sandbox that had ended it cannot have. */
const RAN = new Set(['exited', 'signaled', 'timed-out', 'out-of-memory']);

/** Lifecycle events whose subject is a sandbox that stays, or for `approval` any sandbox. */
const OF_SANDBOX = new Set(['pause', 'resume', 'fork', 'files', 'dial', 'network', 'snapshot', 'restore', 'secret-revoked', 'approval']);

/**
 * Follows every pointer of a log from its first entry on:
 *
 * - an outcome points by its subject to one intent before it, which had none; an intent is the only one of its subject;
 * - an exec points by `sandbox` to a sandbox whose intent stands before it and was allowed; one whose sandbox has its outcome already did not run;
 * - a lifecycle entry of a sandbox, and every egress entry, points by its subject to such a sandbox;
 * - a secret that went out with a request was leased to its sandbox by the intent, and so was one that is revoked;
 * - a heartbeat closes its run up to the number that it says is settled: every one is there but those that it says it could not put on
 *   record, each once, all of the same source.
 *
 * What is open and what is remembered of the last few thousand that ended is all that it holds.
 */
export class PointerCheck {
  readonly #open = new Map<string, Opened>();
  /** Secrets that were leased to sandboxes that are there. */
  readonly #sandboxes = new Map<string, ReadonlySet<string>>();
  readonly #ended = new Map<string, ReadonlySet<string>>();
  readonly #runs = new Map<string, Run>();
  /** Runs whose heartbeat has named what is missing, with how much that was. */
  readonly #told = new Map<string, number>();
  #unread = 0;
  #next = 0;

  /** Entries of which the body could not be read, and so nothing was followed. */
  get unread(): number {
    return this.#unread;
  }

  /** Subjects of intents that have no outcome. */
  get open(): readonly string[] {
    return [...this.#open.keys()];
  }

  /** What is wrong with the next entry. Empty: all of its pointers hold. */
  check(entry: Entry): readonly BadPointer[] {
    const found = [...this.#place(entry), ...this.#origin(entry), ...this.#body(entry)];
    return found.map((why) => ({ index: entry.index, subject: entry.subject, why }));
  }

  #place({ index }: Entry): readonly string[] {
    const expected = this.#next;
    this.#next = index + 1;
    return index === expected ? [] : [`it is entry ${index} where ${expected} would follow`];
  }

  #origin({ source, origin, index }: Entry): readonly string[] {
    if (origin === undefined) return [];
    const { run: id, seq } = origin;
    const before = this.#runs.get(id) ?? newRun(id, source);
    if (before.source !== source) return [`its run ${id} is one of ${before.source}, not of ${source}`];
    const run = enterSeq(before, seq, index);
    this.#runs.delete(id);
    this.#runs.set(id, run);
    this.#forgetRuns();
    return run.again > before.again ? [`number ${seq} of run ${id} is there already`] : [];
  }

  #heartbeat({ origin }: Entry, standing: Extract<EntryBody, { readonly is: 'heartbeat' }>['body']): readonly string[] {
    const run = origin === undefined ? undefined : this.#runs.get(origin.run);
    if (run === undefined) return [];
    const { count, gaps } = unexplained(run, standing);
    const told = this.#told.get(run.id) ?? 0;
    this.#told.set(run.id, count);
    const where = gaps.map(([first, last]) => (first === last ? String(first) : `${first}–${last}`)).join(', ');
    return count > told ? [`${count} entries of run ${run.id} of ${run.source} are missing: ${where}`] : [];
  }

  #forgetRuns(): void {
    const [oldest] = this.#runs.keys();
    if (this.#runs.size <= RUNS_KEPT || oldest === undefined) return;
    this.#runs.delete(oldest);
    this.#told.delete(oldest);
  }

  #body(entry: Entry): readonly string[] {
    const read = readEntryBody(entry);
    switch (read?.is) {
      case 'call':
      case 'sandbox': return this.#intent(entry, read.is, read.body);
      case 'exec': return this.#exec(entry, read.body);
      case 'outcome': return this.#outcome(entry, read.body.ending.kind);
      case 'lifecycle': return this.#lifecycle(entry, read.body);
      case 'egress': return this.#egress(entry, read.body);
      case 'heartbeat': return this.#heartbeat(entry, read.body);
      case 'alert': return [];
      case undefined:
        this.#unread += 1;
        return [];
    }
  }

  #intent({ subject, index }: Entry, what: 'call' | 'sandbox', { decision, secrets }: Extract<EntryBody, { readonly is: 'call' | 'sandbox' }>['body']): readonly string[] {
    const found = this.#onlyOne(subject);
    const denied = decision.effect === 'deny';
    this.#open.set(subject, { what, denied, late: false, index });
    if (!denied) this.#sandboxes.set(subject, new Set(secrets));
    return found;
  }

  #onlyOne(subject: string): readonly string[] {
    const open = this.#open.get(subject);
    if (open !== undefined) return [`it is a second intent of what entry ${open.index} intends`];
    return this.#ended.has(subject) ? ['it is an intent of what has its outcome'] : [];
  }

  #exec({ subject, index }: Entry, { sandbox, decision }: Extract<EntryBody, { readonly is: 'exec' }>['body']): readonly string[] {
    const found = this.#onlyOne(subject);
    const late = this.#ended.has(sandbox);
    this.#open.set(subject, { what: 'exec', denied: decision?.effect === 'deny', late, index });
    return this.#sandboxes.has(sandbox) || late ? found : [...found, `its sandbox ${sandbox} has no allowed intent before it`];
  }

  #outcome({ subject }: Entry, ending: string): readonly string[] {
    const open = this.#open.get(subject);
    if (open === undefined) return ['it has no intent that is open'];
    this.#open.delete(subject);
    this.#end(subject);
    const ran = RAN.has(ending);
    if (ran && open.denied) return [`it is ${ending}, and entry ${open.index} was refused`];
    return ran && open.late ? [`it is ${ending}, and its sandbox had its outcome before entry ${open.index}`] : [];
  }

  #end(subject: string): void {
    this.#ended.set(subject, this.#sandboxes.get(subject) ?? new Set());
    this.#sandboxes.delete(subject);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > ENDED_KEPT && oldest !== undefined) this.#ended.delete(oldest);
  }

  #lifecycle({ subject }: Entry, body: Extract<EntryBody, { readonly is: 'lifecycle' }>['body']): readonly string[] {
    if (!OF_SANDBOX.has(body.event)) return [];
    const leased = this.#sandboxes.get(subject) ?? this.#ended.get(subject);
    if (leased === undefined) return [`${body.event} points to no sandbox with an allowed intent before it`];
    return body.event === 'secret-revoked' && !leased.has(body.secret) ? [`the secret ${body.secret} was not leased to it`] : [];
  }

  #egress({ subject }: Entry, body: Extract<EntryBody, { readonly is: 'egress' }>['body']): readonly string[] {
    const leased = this.#sandboxes.get(subject) ?? this.#ended.get(subject);
    if (leased === undefined) return [`egress ${body.event} points to no sandbox with an allowed intent before it`];
    if (body.event !== 'request') return [];
    return body.secrets.filter(({ secret }) => !leased.has(secret)).map(({ secret }) => `the secret ${secret} went out and was not leased to it`);
  }
}

import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { ruleName, type ApprovalAnswer, type Decided, type EgressDenied, type EgressRule, type HeldAttempt, type Json } from '@caisson/contract';
import { denial } from './denial.ts';
import type { Destination, Layer, LayerName } from './layers.ts';
import { plain } from './refusals.ts';

/** Attempts of one sandbox that wait, and things that they wait for: few enough for a person to read. */
const HELD_MOST = 32;
const RULES_TOLD = 8;
const ANSWERS_MOST = 1_024;
/** How long what was denied is not asked again: a program that tries in a loop asks once. */
const DENIED_MS = 60_000;
const HOLD_MS = 120_000;
const GONE = 'the client went away before it was decided';
const WAY = 'a decision of the operator: ./caisson approvals';

export interface Attempt extends Destination {
  /** Null of a connection that is not read. */
  readonly method: string | null;
  /** Path of a request, without its query; for who decides to read. */
  readonly path: string | null;
}

/** By whose decision it goes on, and of what that decision is. */
export interface Approved {
  readonly approval: string;
  readonly key: string;
}

type Verdict = Approved | EgressDenied;

interface Holding {
  readonly layer: LayerName;
  readonly rule: EgressRule;
}

interface Question {
  readonly key: string;
  readonly rules: readonly Holding[];
  readonly attempt: Omit<HeldAttempt, 'waiting'>;
  readonly waiting: Set<(verdict: Verdict) => void>;
  readonly timer: NodeJS.Timeout;
  /** Resolves when it is on record that it waits: nobody decides before. */
  readonly recorded: Promise<void>;
  isOnRecord: boolean;
}

interface Answer extends Pick<Question, 'rules'> {
  readonly approval: string;
  readonly isAllowed: boolean;
  readonly untilMs: number;
}

interface Parts {
  readonly sandbox: string;
  readonly record: (body: Json) => Promise<void>;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** Told when what is listed is another. */
  readonly changed?: () => void;
}

/** The rules by which something waits: all that allow it, in each layer where every rule that allows it has `hold`. */
export function holding(layers: readonly Layer[]): readonly Holding[] {
  return layers.flatMap(({ name, allow }) => (allow?.every(({ hold }) => hold === true) === true ? allow.map((rule) => ({ layer: name, rule })) : []));
}

/**
 * What one sandbox waits for, and what was decided of it. A decision is of one host, port and method, and of the rules as they
 * were when it was asked for. Nothing of it outlives the gate or the sandbox.
 */
export class Approvals {
  readonly #parts: Parts;
  readonly #questions = new Map<string, Question>();
  readonly #answers = new Map<string, Answer>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Resolves when it is decided, or is not any more. Null: nothing holds it. Rejects when it cannot be put on record. */
  async ask(attempt: Attempt, layers: readonly Layer[], { holdMs = HOLD_MS, client }: { readonly holdMs: number | undefined; readonly client: Duplex }): Promise<Verdict | null> {
    const rules = holding(layers);
    if (rules.length === 0) return null;
    const key = keyOf(attempt, rules);
    const known = this.#answerTo(key);
    if (known?.isAllowed === true) return { approval: known.approval, key };
    if (known !== undefined) return refused(rules, 'this was denied a moment ago');
    if (client.destroyed) return refused(rules, GONE);
    const asked = this.#questions.get(key);
    if (this.#waiting() >= HELD_MOST || (asked === undefined && this.#questions.size >= HELD_MOST)) return refused(rules, `${HELD_MOST} attempts wait for a decision, as many as a sandbox may have`, 'fewer at once');
    const question = asked ?? this.#open({ attempt, key, rules, holdMs });
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const gone = (): void => resolve(refused(rules, GONE));
    question.waiting.add(resolve);
    client.once('close', gone);
    try {
      await question.recorded;
      return await promise;
    } finally {
      question.waiting.delete(resolve);
      client.off('close', gone);
    }
  }

  #open({ attempt: { host, port, method, path }, key, rules, holdMs }: { readonly attempt: Attempt; readonly key: string; readonly rules: readonly Holding[]; readonly holdMs: number }): Question {
    const { sandbox, record, wallMs } = this.#parts;
    const sinceMs = wallMs();
    const attempt = {
      id: `apr-${randomBytes(8).toString('hex')}`, sandbox, what: method === null ? 'connection' as const : 'request' as const, host, port, method, path: path === null ? null : plain(path),
      rules: rules.slice(0, RULES_TOLD).map(({ rule }) => ruleName(rule)), sinceMs, expiresMs: sinceMs + holdMs,
    };
    const { id, sandbox: _, ...told } = attempt;
    const question: Question = {
      key, rules, attempt, waiting: new Set(), isOnRecord: false,
      // It waits to its end also when nobody does any more: who comes back in a loop asks once, and finds what was decided.
      timer: setTimeout(() => this.#settle(question, refused(rules, `nobody has decided within ${Math.round(holdMs / 1_000)} s`)), holdMs),
      recorded: record({ event: 'held', approval: id, ...told }).then(() => this.#put(question), (error: unknown) => {
        this.#settle(question, refused(rules, 'it could not be put on record'));
        throw error;
      }),
    };
    question.recorded.catch(() => undefined);
    this.#questions.set(key, question);
    return question;
  }

  #put(question: Question): void {
    question.isOnRecord = true;
    this.#parts.changed?.();
  }

  #waiting(): number {
    return [...this.#questions.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  #settle(question: Question, verdict: Verdict): void {
    clearTimeout(question.timer);
    if (this.#questions.get(question.key) === question) this.#questions.delete(question.key);
    for (const resolve of question.waiting) resolve(verdict);
    this.#parts.changed?.();
  }

  #answerTo(key: string): Answer | undefined {
    const answer = this.#answers.get(key);
    if (answer === undefined || answer.untilMs > this.#parts.nowMs()) return answer;
    this.#answers.delete(key);
    return undefined;
  }

  /** The oldest first. */
  list(): readonly HeldAttempt[] {
    return [...this.#questions.values()].filter(({ isOnRecord }) => isOnRecord).map(({ attempt, waiting }) => ({ ...attempt, waiting: waiting.size }));
  }

  /** Null: nothing waits under this id. */
  answer(approval: string, { decision, for: span = 'once' }: ApprovalAnswer): Decided | null {
    const question = [...this.#questions.values()].find(({ attempt, isOnRecord }) => isOnRecord && attempt.id === approval);
    if (question === undefined) return null;
    const { key, rules, attempt, waiting: { size: waiting } } = question;
    const isAllowed = decision === 'allow';
    const lastsMs = isAllowed ? spanMs(span) : DENIED_MS;
    if (lastsMs > 0) this.#remember(key, { approval, rules, isAllowed, untilMs: this.#parts.nowMs() + lastsMs });
    this.#settle(question, isAllowed ? { approval, key } : refused(rules, 'it was denied'));
    return { ...attempt, waiting, decision, untilMs: lastsMs === Infinity ? null : this.#parts.wallMs() + lastsMs };
  }

  #remember(key: string, answer: Answer): void {
    for (const known of this.#answers.keys()) this.#answerTo(known);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size >= ANSWERS_MOST && oldest !== undefined) this.#answers.delete(oldest);
    this.#answers.set(key, answer);
  }

  /** Ends what waits under rules that are no more, and forgets what was decided of a rule that is not there now. */
  change(layers: readonly Layer[]): void {
    const there = new Set(layers.flatMap(({ name, allow }) => (allow ?? []).map((rule) => JSON.stringify({ layer: name, rule }))));
    for (const [key, { rules }] of this.#answers) if (!rules.every((each) => there.has(JSON.stringify(each)))) this.#answers.delete(key);
    this.end('the rules were changed');
  }

  end(why: string): void {
    for (const question of this.#questions.values()) this.#settle(question, refused(question.rules, `${why} before it was decided`));
  }

  /** Whether an open connection is one that only a decision would allow, and there is none of it. */
  lacks(connection: Destination & { readonly approvedAs?: string }, layers: readonly Layer[]): boolean {
    const rules = holding(layers);
    if (rules.length === 0) return false;
    const key = keyOf({ ...connection, method: null }, rules);
    return connection.approvedAs !== key && this.#answerTo(key)?.isAllowed !== true;
  }
}

/** As many of the lists together, of each its first: no list is left out for the sake of a longer one. */
export function shareOf<T>(lists: readonly (readonly T[])[], most: number): readonly T[] {
  let left = most;
  const counts = lists.map(() => 0);
  for (let at = 0; left > 0 && lists.some(({ length }) => length > at); at++) {
    for (const [index, { length }] of lists.entries()) {
      if (length <= at || left === 0) continue;
      counts[index] = at + 1;
      left -= 1;
    }
  }
  return lists.flatMap((list, index) => list.slice(0, counts[index]));
}

function spanMs(span: NonNullable<ApprovalAnswer['for']>): number {
  if (span === 'once') return 0;
  return span === 'sandbox' ? Infinity : span;
}

function keyOf({ host, port, method }: Omit<Attempt, 'path'>, rules: readonly Holding[]): string {
  return JSON.stringify([host, port, method, rules]);
}

function refused(rules: readonly Holding[], reason: string, wouldAllow = WAY): EgressDenied {
  const [first] = rules;
  return denial(`"${first === undefined ? '' : ruleName(first.rule)}" has this wait for a decision, and ${reason}`, wouldAllow, first === undefined ? null : ruleName(first.rule));
}

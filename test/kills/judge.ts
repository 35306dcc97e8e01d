import type { Entry, Receipt } from '@caisson/contract';
import { emptyState, foldAll, PointerCheck, stateHash } from '@caisson/projection';
import { EMPTY_EDGE, grow, rootOf } from '@caisson/tlog';
import type { Line } from './follower.ts';
import { tokenOf } from './token.ts';
import type { Asked, Effect } from './worker.ts';

/** How far the time of a file may be behind the clock of the scribe, in milliseconds: a tick of the slowest kernel. */
const TICK_MS = 10;

interface Call {
  readonly subject: string;
  readonly token: number | null;
  readonly intent: Entry;
  readonly outcomes: readonly Entry[];
}

export interface Found {
  readonly lines: readonly Line[];
  readonly asked: readonly Asked[];
  readonly effects: readonly Effect[];
  /** Hashes of the state by other ways than a replay. */
  readonly hashes: Readonly<Record<string, string>>;
}

export interface Judged {
  /** What is not as it must be, one line each. */
  readonly wrong: readonly string[];
  /** Of the commands: how many came to what. */
  readonly counted: Readonly<Record<string, number>>;
  /** How many entries the log has of each kind. */
  readonly kinds: Readonly<Record<string, number>>;
  readonly state: string;
}

/** The number in the program's name of an intent; null: it is no command of these. */
function tokenIn(intent: Entry): number | null {
  const { program } = body(intent);
  return typeof program === 'string' ? tokenOf(program) : null;
}

const body = (entry: Entry): Readonly<Record<string, unknown>> => entry.body as Readonly<Record<string, unknown>>;
const endingOf = (entry: Entry | undefined): string => (entry === undefined ? 'none' : (body(entry)['ending'] as { readonly kind: string }).kind);

/** Holds what the clients know and what the workspaces hold against the record, and the record against itself. */
export function judge({ lines, asked, effects: files, hashes }: Found): Judged {
  const effects = files.filter(({ times }) => times > 0); // a shell that was killed between opening its file and writing to it has had none
  const entries = lines.map(({ entry }) => entry);
  const calls = callsOf(entries);
  const state = foldAll(emptyState(), entries);
  const hash = stateHash(state);
  const check = new PointerCheck();
  const wrong = [
    ...entries.flatMap((entry) => check.check(entry)).map(({ index, why }) => `entry ${index}: ${why}`),
    ...(state.unread === 0 ? [] : [`${state.unread} entries that are not known`]),
    ...state.misfits.map(({ index, what }) => `entry ${index} does not follow: ${what}`),
    ...Object.entries(hashes).filter(([, other]) => other !== hash).map(([way, other]) => `the state by ${way} is ${other}, that of a clean replay ${hash}`),
    ...calls.flatMap(pairedBadly),
    ...effectsBadly(calls, effects),
    ...answeredBadly(calls, effects, asked),
    ...receiptsBadly(lines, asked),
  ];
  return { wrong, counted: counts(calls, effects, asked), kinds: { ...state.kinds }, state: hash };
}

function callsOf(entries: readonly Entry[]): readonly Call[] {
  const outcomes = Map.groupBy(entries.filter(({ kind }) => kind === 'outcome'), ({ subject }) => subject);
  return entries.filter(({ kind }) => kind === 'intent').map((intent) => ({
    subject: intent.subject,
    token: tokenIn(intent),
    intent,
    outcomes: outcomes.get(intent.subject) ?? [],
  }));
}

function pairedBadly({ subject, intent, outcomes: [outcome, ...more] }: Call): readonly string[] {
  if (outcome === undefined) return [`${subject}: an intent without an outcome`];
  if (more.length > 0) return [`${subject}: ${more.length + 1} outcomes`];
  return outcome.index > intent.index ? [] : [`${subject}: its outcome is before its intent`];
}

/** No effect without an intent before it, none twice, and none that the record says was not or was over. */
function effectsBadly(calls: readonly Call[], effects: readonly Effect[]): readonly string[] {
  const byToken = Map.groupBy(calls, ({ token }) => token);
  return effects.flatMap(({ token, times, atMs }) => {
    const of = byToken.get(token) ?? [];
    const said = of.map(({ subject, outcomes }) => `${subject} ${endingOf(outcomes[0])}`).join(', ');
    if (of.length === 0) return [`effect ${token} has no intent`];
    if (times !== 1) return [`effect ${token} came ${times} times: ${said}`];
    if (of.every(({ intent }) => intent.timeMs > atMs + TICK_MS)) return [`effect ${token} came before its intent`];
    const could = of.filter(({ outcomes }) => ['exited', 'signaled', 'timed-out', 'cancelled', 'unknown'].includes(endingOf(outcomes[0])));
    if (could.length === 0) return [`effect ${token} came, and the record says that it did not: ${said}`];
    const late = could.every(({ outcomes: [outcome] }) => endingOf(outcome) === 'exited' && (outcome?.timeMs ?? 0) + 1 < atMs);
    return late ? [`effect ${token} came after its end: ${said}`] : [];
  });
}

/** Whatever is said to have exited with 0, by the record or to a client, has had its effect, and the record has what was answered. */
function answeredBadly(calls: readonly Call[], effects: readonly Effect[], asked: readonly Asked[]): readonly string[] {
  const had = new Set(effects.map(({ token }) => token));
  const bySubject = new Map(calls.map((call) => [call.subject, call]));
  const recorded = calls.filter(({ token, outcomes: [outcome] }) => token !== null && outcome !== undefined && endingOf(outcome) === 'exited' && body(outcome)['exit'] === 0 && !had.has(token));
  return [
    ...recorded.map(({ subject, token }) => `${subject}: it exited with 0, and its effect ${token} is lost`),
    ...asked.flatMap(({ token, answer }) => {
      if ('error' in answer) return [];
      const call = bySubject.get(answer.execId);
      if (call?.token !== token) return [`${answer.execId}: it was answered, and the record has no intent of ${token}`];
      const kind = endingOf(call.outcomes[0]);
      return kind === answer.ending.kind ? [] : [`${answer.execId}: it was answered ${answer.ending.kind}, and the record says ${kind}`];
    }),
  ];
}

/** Every receipt that a client was given is of an entry of this log, at its place. */
function receiptsBadly(lines: readonly Line[], asked: readonly Asked[]): readonly string[] {
  const receipts = asked.flatMap(({ answer }) => ('error' in answer ? [] : [answer.evidence.intent, answer.evidence.outcome])).filter((receipt): receipt is Receipt => receipt !== null);
  const wanted = Map.groupBy(receipts, ({ index }) => index);
  let edge = EMPTY_EDGE;
  const wrong: string[] = [];
  for (const { entry, hash } of lines) {
    edge = grow(edge, Buffer.from(hash, 'hex'));
    const of = wanted.get(entry.index);
    if (of === undefined) continue;
    wanted.delete(entry.index);
    const root = rootOf(edge).toString('hex');
    if (of.some((receipt) => receipt.hash !== root)) wrong.push(`entry ${entry.index}: a client has a receipt of another log`);
  }
  return [...wrong, ...[...wanted.keys()].map((index) => `entry ${index}: a client has its receipt, and it is lost`)];
}

function counts(calls: readonly Call[], effects: readonly Effect[], asked: readonly Asked[]): Readonly<Record<string, number>> {
  const had = new Map(effects.map(({ token, atMs }) => [token, atMs]));
  const tokens = new Set(calls.map(({ token }) => token));
  const counted: Record<string, number> = { answered: 0, 'not answered': 0, 'without an intent': 0 };
  const add = (name: string): void => void (counted[name] = (counted[name] ?? 0) + 1);
  for (const { token, answer } of asked) {
    add('error' in answer ? 'not answered' : 'answered');
    if (!tokens.has(token)) add('without an intent');
  }
  // A command that is asked for again with its key may have several intents; the effect is that of the one which is known to have ended.
  for (const [token, of] of Map.groupBy(calls.filter((call) => call.token !== null), (call) => call.token)) {
    const ended = of.find(({ outcomes: [outcome] }) => endingOf(outcome) === 'exited') ?? of[0];
    for (const call of of) add(cameTo(call, { again: call !== ended, effectMs: had.get(token ?? -1) }));
  }
  return counted;
}

function cameTo({ outcomes: [outcome] }: Call, { again, effectMs }: { readonly again: boolean; readonly effectMs: number | undefined }): string {
  const kind = endingOf(outcome);
  if (again) return `${kind}, and begun again`;
  if (effectMs === undefined) return `${kind}, without its effect`;
  return effectMs > (outcome?.timeMs ?? 0) + 1 ? `${kind}, with its effect after that` : `${kind}, with its effect`;
}

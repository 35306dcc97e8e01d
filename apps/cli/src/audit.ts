import { CaissonError, canonicalJson, printable, problemOf, type Entry, type Json, type Receipt, type StatePaths } from '@caisson/contract';
import { readEntries, type Line, type Verification } from '@caisson/evidence';
import { viewShape, viewStart } from './export-views.ts';
import { headOf, openSource, type LogSource, type SourceFlags } from './log-source.ts';
import { askedStamps, searchFor, stampedHeads, stampedJson, stampedText, type AskedStamps, type StampedHead, type StampFlags } from './stamped-heads.ts';
import { askedWitnesses, witnessedHead, type AskedWitnesses, type WitnessedHead, type WitnessFlags } from './witnessed-head.ts';

export interface TailOptions {
  /** How many of the last entries to show. */
  readonly lines: number;
  /** Whether to go on showing entries as they are recorded, until `signal` ends it. */
  readonly follow: boolean;
  /** One JSON object per line: the entry, and the hash of its leaf in the tree. */
  readonly json: boolean;
  /** First entry to show; then `lines` does not count. */
  readonly from?: number | undefined;
  /** Name of a view; a line of JSON for each record that it has. */
  readonly view?: string | undefined;
  readonly out: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Shows the end of the log. @throws CaissonError STATE_DIR_INVALID, EVIDENCE_DAMAGED, USAGE for a view that is not known */
export async function auditTail({ evidence }: Pick<StatePaths, 'evidence'>, { lines, from, follow, json, view, out, signal }: TailOptions): Promise<void> {
  const show = view === undefined ? (line: Line) => lineText(line, json) : viewText(view);
  const first = view === 'events' ? (from ?? (await firstOf(evidence, lines))) : from;
  const range = first === undefined ? { last: lines } : { from: viewStart(view, first) };
  for await (const line of readEntries(evidence, { ...range, follow, signal })) {
    const text = show(line);
    if (text !== undefined && line.entry.index >= (first ?? 0)) out(text);
  }
}

/** Index of the first of the last `lines` entries that are there. */
async function firstOf(dir: string, lines: number): Promise<number> {
  for await (const { entry } of readEntries(dir, { last: lines })) return entry.index;
  return 0;
}

function lineText({ entry, hash }: Line, json: boolean): string {
  return json ? `${terminalJson({ entry: entry as unknown as Json, hash })}\n` : `${entryText(entry)}\n`;
}

function viewText(view: string): (line: Line) => string | undefined {
  const shape = viewShape(view);
  return (line) => {
    const text = shape(line);
    return text === undefined ? undefined : `${terminalText(text)}\n`;
  };
}

function entryText({ index, timeMs, kind, source, subject, body }: Entry): string {
  const words = [new Date(timeMs).toISOString(), `#${index}`, kind, terminalWord(source), terminalWord(subject), terminalJson(body)];
  return words.join('  ');
}

export interface VerifyOptions {
  /** A head that was kept elsewhere, as INDEX:HASH. */
  readonly head?: string | undefined;
  /** A verifier key of the log that is trusted, or a file with some. Default: those beside the log. */
  readonly key?: string | undefined;
  /** Another log than the one of `paths`: a folder, or an archive, for which the key has to be given. */
  readonly elsewhere?: Pick<SourceFlags, 'dir' | 'archive'>;
  readonly witnesses?: WitnessFlags;
  readonly stamps?: StampFlags;
  readonly json: boolean;
  readonly out: (text: string) => void;
  /** Where a usage error is told. Default: the standard error. */
  readonly err?: (text: string) => void;
}

/** What no reading of the log alone can show. */
const NOT_SHOWN = [
  'whose key it is: it is checked with the key that stands beside it, unless --key gives one that you have from elsewhere',
  'a cut end: entries missing from the end, or the whole log, are noticed only against a head kept elsewhere',
  'that the times are right: they are what the clock of this machine said',
] as const;

/**
 * Checks the log and says what was checked and what that cannot show.
 *
 * @returns the exit status: 0 good, 1 bad or incomplete evidence, 2 a mistake of usage, such as a head that is not INDEX:HASH.
 * @throws CaissonError STATE_DIR_INVALID when there is no log, or it may not be read.
 */
export async function auditVerify(paths: StatePaths, { json, out, err = toStderr, ...flags }: VerifyOptions): Promise<number> {
  const opened = await usageOr(() => openQuestion(paths, flags), err);
  if (opened === null) return 2;
  using source = opened.source;
  const kept = await keptOf(opened);
  if ('bad' in kept) return notHeld(kept, { json, out });
  const { seen, heads } = kept;
  const search = heads === null ? null : searchFor(heads);
  const result = await source.verify({ head: opened.known ?? seen?.head, visit: search?.visit });
  const stamped = heads === null || search === null ? null : { heads, missing: search.missing() };
  const good = isGood(result) && (stamped === null || stamped.missing === null);
  out(json ? `${terminalJson(facts(result, { good, seen, stamped }))}\n` : verificationText(source.where, result, { good, seen, stamped }));
  return good ? 0 : 1;
}

/** What was found out besides the log itself. */
interface Found {
  readonly good: boolean;
  readonly seen: WitnessedHead | null;
  readonly stamped: { readonly heads: readonly StampedHead[]; readonly missing: StampedHead | null } | null;
}

function isGood({ bad, findingsCount, knownHead }: Verification): boolean {
  return bad === null && findingsCount === 0 && knownHead !== 'missing';
}

function facts(result: Verification, { good, seen, stamped }: Found): { readonly [name: string]: Json } {
  const stamps = stamped === null ? null : { heads: stamped.heads.map(stampedJson), missing: stamped.missing?.entries ?? null };
  return { ...asJson(result), witnessed: seen === null ? null : asWords(seen), stamped: stamps, verdict: good ? 'good' : 'bad', notShown: NOT_SHOWN };
}

interface Question {
  readonly known: Receipt | undefined;
  readonly asked: AskedWitnesses | null;
  readonly stamps: AskedStamps | null;
  readonly source: LogSource;
}

async function openQuestion(paths: StatePaths, { head, key, elsewhere = {}, witnesses = {}, stamps: flags = {} }: Pick<VerifyOptions, 'head' | 'key' | 'elsewhere' | 'witnesses' | 'stamps'>): Promise<Question> {
  const known = head === undefined ? undefined : headOf(head);
  const asked = askedWitnesses(witnesses, elsewhere.dir ?? paths.evidence);
  if (known !== undefined && asked !== null) throw new CaissonError('USAGE', { detail: '--head and --witness: one of them says which head this log has to have' });
  const stamps = await askedStamps(flags, elsewhere.dir ?? paths.evidence);
  return { known, asked, stamps, source: await openSource(placeOf(paths, elsewhere, key)) };
}

interface NotHeld {
  readonly what: 'witnessed' | 'stamped';
  readonly bad: string;
}

/** The heads that others have signed, each null where it is not asked for. */
async function keptOf({ asked, stamps, source: { keys } }: Question): Promise<{ readonly seen: WitnessedHead | null; readonly heads: readonly StampedHead[] | null } | NotHeld> {
  const seen = asked === null ? null : await witnessedHead(asked, keys);
  if (seen !== null && 'bad' in seen) return { what: 'witnessed', bad: seen.bad };
  const heads = stamps === null ? null : await stampedHeads(stamps, keys);
  return heads !== null && 'bad' in heads ? { what: 'stamped', bad: heads.bad } : { seen, heads };
}

/** What is kept of others does not hold: then the log is not looked at. */
function notHeld({ what, bad }: NotHeld, { json, out }: Pick<VerifyOptions, 'json' | 'out'>): number {
  out(json ? `${terminalJson({ [what]: { bad }, verdict: 'bad' })}\n` : `${what.padEnd(12)}${terminalWord(bad)}\n${'verdict'.padEnd(12)}BAD\n`);
  return 1;
}

function asWords({ head, by, timeMs }: WitnessedHead): { readonly entries: number; readonly by: readonly string[]; readonly time: string } {
  return { entries: head.index + 1, by, time: new Date(timeMs).toISOString() };
}

function witnessedText(seen: WitnessedHead | null): string {
  if (seen === null) return 'not asked for (--witness)';
  const { entries, by, time } = asWords(seen);
  return `${entries} entries by ${by.map(terminalWord).join(', ')}, at ${time}; what came later is not`;
}

function toStderr(text: string): void {
  process.stderr.write(text);
}

function placeOf({ evidence }: StatePaths, { dir, archive }: Pick<SourceFlags, 'dir' | 'archive'>, key: string | undefined): SourceFlags {
  return archive === undefined ? { dir: dir ?? evidence, key } : { dir, archive, key };
}

/** What `open` gives; null where it finds a mistake of usage, which is told. */
async function usageOr<T>(open: () => Promise<T>, err: (text: string) => void): Promise<T | null> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof CaissonError) || error.code !== 'USAGE') throw error;
    const { code, message, hint } = problemOf(error);
    err(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
    return null;
  }
}

function asJson({ head, bad, findings, unread, keys, ...rest }: Verification): { readonly [name: string]: Json } {
  return { ...rest, keys: [...keys], findings: findings.map((finding) => ({ ...finding })), unread: { ...unread }, head: head && { ...head }, bad: bad && { ...bad } };
}

function verificationText(where: string, result: Verification, { good, seen, stamped }: Found): string {
  const { origin, entries, published, head, bad, openIntents, unfinishedBytes, knownHead } = result;
  const rows = [
    ['log', printable(where)],
    ['origin', origin ?? 'none'],
    ['key', keyText(result)],
    ['entries', `${entries} good, each under a head that the key of the log has signed; ${published} of them in tiles`],
    ['head', head === null ? 'none: the log is empty' : `${head.index}:${head.hash}`],
    ['bad', bad === null ? 'none' : `entry ${bad.index} ${terminalWord(bad.reason)}; nothing after it was checked`],
    ['complete', completeText(result)],
    ['bodies', bodiesText(result)],
    ['intents', intentsText(openIntents)],
    ['end', unfinishedBytes === 0 ? 'complete' : `${unfinishedBytes} bytes of an entry that is being written, was never acknowledged, or was cut`],
    ['known head', knownHeadText(knownHead, head)],
    ['witnessed', witnessedText(seen)],
    ['stamped', stamped === null ? 'not asked for (--timestamps)' : stampedText(stamped.heads, stamped.missing).map(terminalWord).join(`\n${' '.repeat(12)}`)],
    ['verdict', good ? 'good, as far as this can show' : 'BAD'],
  ] as const;
  const table = rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
  return `${table}\nThis does not show:\n${NOT_SHOWN.map((text) => `- ${text}\n`).join('')}`;
}

/** The key that signs the end of the log, as --key takes it. */
function keyText({ keys: [now, ...earlier] }: Verification): string {
  if (now === undefined) return 'none that can be named, because the log is bad';
  return `${terminalWord(now)}${earlier.length === 0 ? '' : `, after ${earlier.map((key) => terminalWord(key.split('+').slice(0, 2).join('+'))).join(', ')}`}`;
}

/** Findings that are shown, of those that --json has. */
const FINDINGS_SHOWN = 10;

function completeText({ bad, findings, findingsCount }: Verification): string {
  if (bad !== null) return 'not looked at';
  if (findingsCount === 0) return 'nothing is missing, as far as numbers, heartbeats and counters tell';
  const lines = findings.slice(0, FINDINGS_SHOWN).map(({ index, reason }) => `entry ${index} ${terminalWord(reason)}`);
  const more = findingsCount - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join(`\n${' '.repeat(12)}`);
}

function bodiesText({ unread: { count, first } }: Verification): string {
  return first === null ? 'each is one of its kind' : `${count} of no kind that this version knows, the first is that of entry ${first}`;
}

function intentsText(open: readonly string[]): string {
  if (open.length === 0) return 'every one checked has its outcome';
  const noun = open.length === 1 ? 'has' : 'have';
  return `${open.length} ${noun} no outcome (under way, or lost): ${open.map(terminalWord).join(' ')}`;
}

function knownHeadText(knownHead: Verification['knownHead'], head: Receipt | null): string {
  if (knownHead === 'found') return 'found: nothing up to it was changed, removed or added';
  if (knownHead === 'missing') return 'MISSING: the log was cut, rolled back or rewritten, or the head is of another log';
  if (head === null) return 'not given';
  return `not given; keep the head above on another machine and ask later with --head ${head.index}:${head.hash.slice(0, 8)}…`;
}

/** JSON of one line that cannot drive a terminal or reorder what it shows: such characters stand as their JSON escapes. */
export function terminalJson(value: Json): string {
  return terminalText(canonicalJson(value));
}

/** The same for JSON that is text already. */
export function terminalText(json: string): string {
  return json.replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    found.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  );
}

export function terminalWord(text: string): string {
  return terminalJson(text).slice(1, -1);
}

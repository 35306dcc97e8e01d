import { readFileSync } from 'node:fs';
import { CaissonError, canonicalJson, printable, problemOf, Receipt, type Entry, type Json, type StatePaths } from '@caisson/contract';
import { readEntries, verifyLog, type Verification } from '@caisson/evidence';
import { parseVerifierKey, type PublicKey } from '@caisson/tlog';

export interface TailOptions {
  /** How many of the last entries to show. */
  readonly lines: number;
  /** Whether to go on showing entries as they are recorded, until `signal` ends it. */
  readonly follow: boolean;
  /** One JSON object per line: the entry, and the hash of its leaf in the tree. */
  readonly json: boolean;
  readonly out: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Shows the end of the log. @throws CaissonError STATE_DIR_INVALID, EVIDENCE_DAMAGED */
export async function auditTail(paths: StatePaths, { lines, follow, json, out, signal }: TailOptions): Promise<void> {
  for await (const { entry, hash } of readEntries(paths.evidence, { last: lines, follow, signal })) {
    out(json ? `${terminalJson({ entry: entry as unknown as Json, hash })}\n` : `${entryText(entry)}\n`);
  }
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
 * @returns the exit status: 0 good, 1 bad or incomplete evidence, 2 a head that is not INDEX:HASH.
 * @throws CaissonError STATE_DIR_INVALID when there is no log, or it may not be read.
 */
export async function auditVerify(paths: StatePaths, { head, key, json, out, err = toStderr }: VerifyOptions): Promise<number> {
  const usage = (detail: string): number => {
    const { code, message, hint } = problemOf(new CaissonError('USAGE', { detail }));
    err(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
    return 2;
  };
  const known = head === undefined ? undefined : parseHead(head);
  if (known === null) return usage(`--head ${head} is not INDEX:HASH, as audit verify prints it`);
  const keys = key === undefined ? undefined : keysOf(key);
  if (keys?.length === 0) return usage(`--key ${key} is neither a verifier key nor a file of them`);
  const result = await verifyLog(paths.evidence, { head: known, keys });
  const good = result.bad === null && result.findingsCount === 0 && result.knownHead !== 'missing';
  out(json ? `${terminalJson({ ...asJson(result), verdict: good ? 'good' : 'bad', notShown: NOT_SHOWN })}\n` : verificationText(paths, result, good));
  return good ? 0 : 1;
}

function toStderr(text: string): void {
  process.stderr.write(text);
}

function keysOf(text: string): readonly PublicKey[] {
  const lines = text.includes('+') ? [text] : readLinesOf(text);
  return lines.map(parseVerifierKey).filter((key) => key !== null);
}

function readLinesOf(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function parseHead(text: string): Receipt | null {
  const [, index, hash] = /^(0|[1-9][0-9]*):([0-9a-f]{64})$/.exec(text) ?? [];
  const head = Receipt.safeParse({ index: Number(index), hash });
  return head.success ? head.data : null;
}

function asJson({ head, bad, findings, unread, ...rest }: Verification): { readonly [name: string]: Json } {
  return { ...rest, findings: findings.map((finding) => ({ ...finding })), unread: { ...unread }, head: head && { ...head }, bad: bad && { ...bad } };
}

function verificationText(paths: StatePaths, result: Verification, good: boolean): string {
  const { origin, entries, published, head, bad, openIntents, unfinishedBytes, knownHead } = result;
  const rows = [
    ['log', printable(paths.evidence)],
    ['origin', origin ?? 'none'],
    ['entries', `${entries} good, each under a head that the key of the log has signed; ${published} of them in tiles`],
    ['head', head === null ? 'none: the log is empty' : `${head.index}:${head.hash}`],
    ['bad', bad === null ? 'none' : `entry ${bad.index} ${terminalWord(bad.reason)}; nothing after it was checked`],
    ['complete', completeText(result)],
    ['bodies', bodiesText(result)],
    ['intents', intentsText(openIntents)],
    ['end', unfinishedBytes === 0 ? 'complete' : `${unfinishedBytes} bytes of an entry that is being written, was never acknowledged, or was cut`],
    ['known head', knownHeadText(knownHead, head)],
    ['verdict', good ? 'good, as far as this can show' : 'BAD'],
  ] as const;
  const table = rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
  return `${table}\nThis does not show:\n${NOT_SHOWN.map((text) => `- ${text}\n`).join('')}`;
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
function terminalJson(value: Json): string {
  return canonicalJson(value).replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    found.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  );
}

function terminalWord(text: string): string {
  return terminalJson(text).slice(1, -1);
}

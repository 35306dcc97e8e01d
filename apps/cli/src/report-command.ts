import { writeFile } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import type { Verification } from '@caisson/evidence';
import { terminalJson } from './audit.ts';
import { instancePaths } from './client.ts';
import { headOf, openSource, type LogSource, type SourceFlags } from './log-source.ts';
import { asJson, reportOf, withStamps, type Report } from './report-facts.ts';
import { sectionsOf } from './report-sections.ts';
import { newTally, type Filter, type Tally } from './report-shape.ts';
import { tallyEntry } from './report-tally.ts';
import { markdownOf, textOf } from './report-text.ts';
import { print } from './say.ts';
import { askedStamps, missingText, searchFor, stampedHeads, stampedJson, type AskedStamps, type StampFlags } from './stamped-heads.ts';

export interface ReportFlags extends SourceFlags, StampFlags {
  readonly format: string;
  readonly since?: string;
  readonly until?: string;
  readonly agent?: string;
  readonly head?: string;
  readonly out?: string;
}

const FORMS: Readonly<Record<string, (report: Report) => string>> = {
  json: (report) => `${terminalJson(asJson(report))}\n`,
  md: (report) => markdownOf(sectionsOf(report)),
  text: (report) => textOf(sectionsOf(report)),
};

/** Reports what a log holds. @returns 0: the evidence is good; 1: it is bad, as the report says. @throws CaissonError USAGE, STATE_DIR_INVALID */
export async function reportCommand(flags: ReportFlags): Promise<number> {
  const form = Object.hasOwn(FORMS, flags.format) ? FORMS[flags.format] : undefined;
  if (form === undefined) throw new CaissonError('USAGE', { detail: `--format ${flags.format} is none of json, md and text` });
  const filter = { sinceMs: timeOf('--since', flags.since), untilMs: timeOf('--until', flags.until), agent: flags.agent };
  const head = flags.head === undefined ? undefined : headOf(flags.head);
  const stamps = await askedStamps(flags, flags.dir ?? instancePaths().evidence);
  using source = await openSource(flags);
  const make = async (from: Pick<LogSource, 'verify' | 'keys'>): Promise<Report> => makeReport(from, filter, head);
  const report = stamps === null ? await make(source) : await stampedReport(source, stamps, make);
  if (flags.out === undefined) print(form(report));
  else await writeFile(flags.out, form(report), { flag: 'wx' });
  return report.verification.verdict === 'good' ? 0 : 1;
}

/**
 * Verifies a log and counts it in one reading: what is counted is what was verified. Entries can be good by themselves and yet be under
 * a head that nobody has signed: where that shows at the end, the log is read again, up to the first entry that is bad.
 */
export async function makeReport(source: Pick<LogSource, 'verify' | 'keys'>, filter: Filter, head?: ReturnType<typeof headOf>): Promise<Report> {
  for (let most = Number.POSITIVE_INFINITY; ; ) {
    const { tally, counted, verification } = await readOnce(source, { filter, head, most });
    if (verification.bad === null || counted <= verification.bad.index) return reportOf({ tally, verification, keys: source.keys });
    most = verification.bad.index;
  }
}

/** The report, made in the same reading in which the heads that are stamped are found in the log. */
async function stampedReport(source: Pick<LogSource, 'verify' | 'keys'>, stamps: AskedStamps, make: (from: Pick<LogSource, 'verify' | 'keys'>) => Promise<Report>): Promise<Report> {
  const heads = await stampedHeads(stamps, source.keys);
  if ('bad' in heads) return withStamps(await make(source), { heads: [], bad: heads.bad });
  const search = searchFor(heads);
  const verify: LogSource['verify'] = (options) => source.verify({ ...options, visit: (entry, leaf) => { search.visit(entry, leaf); options.visit?.(entry, leaf); } });
  const report = await make({ keys: source.keys, verify });
  const missing = search.missing();
  return withStamps(report, { heads: heads.map(stampedJson), bad: missing === null ? null : missingText(missing) });
}

interface Reading {
  readonly filter: Filter;
  readonly head: ReturnType<typeof headOf> | undefined;
  /** Entries that are counted at most. */
  readonly most: number;
}

async function readOnce(source: Pick<LogSource, 'verify'>, { filter, head, most }: Reading): Promise<{ readonly tally: Tally; readonly counted: number; readonly verification: Verification }> {
  let tally = newTally(filter);
  let counted = 0;
  const verification = await source.verify({
    head,
    visit: (entry) => {
      if (entry.index === 0) [tally, counted] = [newTally(filter), 0]; // the log is read anew
      if (entry.index >= most) return;
      tallyEntry(tally, entry);
      counted += 1;
    },
  });
  return verification.entries === 0 ? { tally: newTally(filter), counted: 0, verification } : { tally, counted, verification };
}

/** A day or a time of UTC as ISO 8601 has them, to milliseconds since 1970. @throws CaissonError USAGE */
function timeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeMs = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(timeMs)) throw new CaissonError('USAGE', { detail: `${option}: ${text} is not a day or a time of UTC, such as 2026-11-01 or 2026-11-01T08:00:00Z` });
  return timeMs;
}

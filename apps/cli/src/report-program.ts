import type { Command } from 'commander';
import type { ExportFlags } from './export-command.ts';
import type { ReportFlags } from './report-command.ts';

const REPORT_HELP = `
The log is verified first, and read once: what is counted is what was verified. The same log gives the
same bytes. Text that an agent chose is shown as text. Exit status: 0 good, 1 bad evidence, 2 usage.

Examples:
  ./caisson audit report
  ./caisson audit report --format md --since 2026-11-01 --agent operator --out november.md
  ./caisson audit report --archive archive.json --key log.vkey --head 1200:5f1c… --format json`;

const EXPORT_HELP = `
One line of JSON for each entry, with its index and the hash of its leaf: audit prove INDEX proves it.
  ocsf   an event of OCSF 1.5.0      otlp   an ExportLogsServiceRequest of OTLP/JSON
  jsonl  {"entry", "hash", "index"}, or with --view the record shapes of Rynxs
The entries are read, not verified: audit verify does that. Exit status: 0, 1 bad evidence, 2 usage.

Examples:
  ./caisson audit export --format ocsf --from 1200
  ./caisson audit export --format otlp --follow`;

const DIR = ['--dir <DIR>', 'the folder of a log; default: of this instance'] as const;
const ARCHIVE = ['--archive <FILE|DIR>', 'an archive of a log: archive.json, or the directory of the archive; with --key'] as const;
const KEY = ['--key <KEY|FILE>', 'a verifier key of the log that you trust, or a file of such; default: those beside the log'] as const;

/** The commands that hand the record on. Each loads its own code when it is called. */
export function addReport(audit: Command, finish: (status: number) => void, version: string): void {
  audit.command('report').summary('one page of what the record holds, verified first')
    .option('--format <format>', 'text, md or json', 'text')
    .option('--since <time>', 'from this day or time of UTC, such as 2026-11-01T08:00:00Z').option('--until <time>', 'before this one').option('--agent <agent>', 'of one agent, as audit tail names callers')
    .option('--head <INDEX:HASH>', 'also check that the log holds this entry, noted down earlier')
    .option('--timestamps <ca.pem>', 'also check every time-stamped head that is kept, by authorities that these certificates have issued').option('--stamped <dir>', 'where these heads are kept; default: timestamps beside the log')
    .option(...DIR).option(...ARCHIVE).option(...KEY).option('--out <file>', 'write it here, where nothing is yet').addHelpText('after', REPORT_HELP)
    .action(async (flags: ReportFlags) => finish(await (await import('./report-command.ts')).reportCommand(flags)));
  audit.command('export').summary('write the record for other systems')
    .requiredOption('--format <format>', 'ocsf, otlp or jsonl')
    .option('--from <N>', 'from this entry on').option('--view <view>', 'with jsonl, the records of Rynxs: rynxs (its audit.jsonl) or events (its event log)').option('--follow', 'go on as entries come')
    .option(...DIR).option(...ARCHIVE).option(...KEY).addHelpText('after', EXPORT_HELP)
    .action(async (flags: ExportFlags) => finish(await (await import('./export-command.ts')).exportCommand(flags, version)));
}

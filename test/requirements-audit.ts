import type { Requirement } from './requirement.ts';

/** What is asked of the commands that read the record, and what proves it. */
export const AUDIT: readonly Requirement[] = [
  {
    id: 'EN-16',
    promise: 'A report says on one page what the log holds and whether it is good, in three forms, the same bytes for the same log.',
    proofs: [
      ['test/report/report.test.ts', 'a report names the log, its key, size, root and the time of its last entry'],
      ['test/report/report.test.ts', 'what a report counts of agents, secrets and kinds is what the state of the log says'],
      ['test/report/report.test.ts', 'the same log gives the same bytes in every form'],
      ['test/report/report.test.ts', '--since and --until leave the entries of that span, and --agent those that an agent has caused'],
      ['test/report/attacks.test.ts', 'a log that was changed makes every form of the report say so, with the entry, and exit with 1'],
      ['test/report/attacks.test.ts', 'a report is the same page, but for code spans, whatever text an agent chose'],
      ['test/report/attacks.test.ts', 'who floods the record with refusals and names hides neither what was allowed nor the first and the last that were denied'],
    ],
  },
  {
    id: 'EN-18',
    promise: 'The log is shown from any entry on, replayed, and its state inspected and signed, from the command line; the record shapes of Rynxs are views of it.',
    proofs: [
      ['test/report/export.test.ts', 'tail shows from any entry on, and the same views'],
      ['test/report/export.test.ts', '--view rynxs has the audit record of each call and exec, and --view events a chain that is the same from any entry on'],
      ['test/projection/cli.test.ts', 'replay prints the hash of the state at any entry, and with --show-state the state'],
      ['test/projection/cli.test.ts', 'inspect shows an agent as of an entry, lists agents, and exits 2 for one that is not known'],
    ],
  },
  {
    id: 'RX-12',
    promise: 'Each record of a call names the sandbox it ran in, and is read again after the sandbox is gone.',
    proofs: [
      ['test/report/export.test.ts', '--view rynxs has the audit record of each call and exec, and --view events a chain that is the same from any entry on'],
      ['test/report/siem.test.ts', 'every kind of entry is an event of its class that the schema of OCSF accepts, with no field that it has not'],
    ],
  },
  {
    id: 'H24',
    promise: 'The copy of the record in the workspace is written from outside alone, holds the records of its own sandbox, and can be neither changed nor filled by it.',
    proofs: [
      ['test/escape/mirror.test.ts', 'can be neither written, removed, replaced, covered nor filled from inside (container)'],
      ['test/escape/mirror.test.ts', 'holds the records of its own sandbox alone, in order and once, and so after control and its writer were killed (container)'],
      ['test/escape/mirror.test.ts', 'cannot be changed by the files of the tenant, and is in no list, difference or archive'],
      ['test/escape/mirror.test.ts', 'AUDIT_MIRROR_TAKEN: what has its name in a workspace stays as it is, a link that leads outside too'],
      ['test/escape/mirror-writer.test.ts', 'whatever was published when, whatever broke off and whoever began anew, a mirror has the records of its own from its start on, in order and once'],
      ['test/escape/mirror-ways.test.ts', 'a sandbox that was prepared has the records of who claimed it, from the first on, and of nobody else'],
      ['test/escape/mirror-alarm.test.ts', 'mirror-behind: a mirror that cannot be written, and a writer that hangs, are alerts, and are cleared when it is over and all is written'],
    ],
  },
];

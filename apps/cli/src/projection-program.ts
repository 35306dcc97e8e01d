import type { Command } from 'commander';
import type { CreateFlags, VerifyFlags } from './checkpoint-command.ts';
import type { InspectFlags } from './inspect.ts';
import { collect } from './options.ts';
import type { ReplayFlags } from './replay-command.ts';
import type { TrustFlags } from './replay-state.ts';

const STATUS = `
The log is read as it is, without the daemon. Exit status: 0 good, 1 bad evidence, 2 it could not be told.`;

const INSPECT_HELP = `
Without --agent: which agents the log tells of. --at-seq N: as of entry N, what comes after it left out.
The log is read as it is, without the daemon. Exit status: 0, 1 bad evidence, 2 no such agent or entry.

Examples:
  ./caisson inspect --agent operator
  ./caisson inspect --agent operator --at-seq 1200 --json`;

const POINTERS_HELP = `
Every outcome has one intent before it, every exec, lease and egress its sandbox, and every heartbeat
finds all that its source reported before it.
${STATUS.trimStart()}`;

const DIR = ['--dir <DIR>', 'the folder of a log (default: that of the instance)'] as const;
const KEY = ['--key <KEY|FILE>', 'a verifier key of the log that you trust, or a file of such; may be repeated (default: those beside the log)', collect] as const;
const JSON_FLAG = ['--json', 'print one object'] as const;

/** The commands about the state that follows from the log. Each loads its own code when it is called. */
export function addProjection(program: Command, finish: (status: number) => void): void {
  program.command('inspect').summary('show what the record says of an agent')
    .option('--agent <AGENT>', 'who called, as audit tail names callers').option('--at-seq <N>', 'as of this entry').option(...KEY).option(...DIR).option(...JSON_FLAG).addHelpText('after', INSPECT_HELP)
    .action(async (flags: InspectFlags) => finish(await (await import('./inspect.ts')).inspectCommand(flags)));
  program.command('replay').summary('fold the record into the state that follows from it, and print its hash')
    .option('--until <N>', 'up to this entry').option('--show-state', 'print the state as well').option(...KEY).option(...DIR).option(...JSON_FLAG).addHelpText('after', STATUS)
    .action(async (flags: ReplayFlags) => finish(await (await import('./replay-command.ts')).replayCommand(flags)));
  program.command('verify-pointers').summary('check that what entries of the record point to is there')
    .option(...KEY).option(...DIR).option(...JSON_FLAG).addHelpText('after', POINTERS_HELP)
    .action(async (flags: TrustFlags) => finish(await (await import('./pointers.ts')).pointersCommand(flags)));
  const checkpoint = program.command('checkpoint').summary('sign the state that follows from the record, and check that');
  checkpoint.command('create').summary('write cp_INDEX_HASH.json: the state, and a signed note of it')
    .option('--key <FILE>', 'private key of the log, a file of mode 0600 (default: DIR-key/log.key)').option('--out <FOLDER>', 'where to (default: here)').option('--until <N>', 'of the state at this entry').option(...DIR).option(...JSON_FLAG).addHelpText('after', STATUS)
    .action(async (flags: CreateFlags) => finish(await (await import('./checkpoint-command.ts')).checkpointCreate(flags)));
  checkpoint.command('verify').summary('check a checkpoint by the public key of the log').argument('<file>', 'cp_INDEX_HASH.json')
    .option(...KEY).option('--full', 'replay the log and compare').option(...DIR).option(...JSON_FLAG).addHelpText('after', STATUS)
    .action(async (file: string, flags: VerifyFlags) => finish(await (await import('./checkpoint-command.ts')).checkpointVerify(file, flags)));
}

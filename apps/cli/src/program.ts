import { Command, CommanderError } from 'commander';
import { CaissonError } from '@caisson/contract/errors';
import { EXIT } from '@caisson/contract/light';
import type { Surroundings } from './early.ts';
import type { TailFlags, VerifyFlags } from './audit-command.ts';
import { collect, running } from './options.ts';
import type { RunFlags } from './run.ts';
import { told } from './say.ts';

const VERSION = '0.1.0';

const OVERVIEW = `
Runs commands of AI agents in sandboxes that hold, and keeps a record of every one.
Data goes to stdout, everything else to stderr. CAISSON_DIR names the state directory
(default /var/lib/caisson for root); two directories are two instances side by side.`;

const RUN_HELP = `
The command gets a fresh sandbox: no network, no host files but a read-only /usr, its own
uid, and 256 MiB of scratch in /workspace. Everything after -- is the command, as it is.

Exit status: the command's own, or 124 time is up, 137 out of memory, 127 no such program,
126 not executable, 125 refused or failed by Caisson, 123 unknown (look at audit tail).
Ctrl-C while --in brings a folder in takes all of it back and ends with 130.

Examples:
  ./caisson run -- uname -a
  ./caisson run --timeout 5s --memory 256Mi -- python3 -c 'print(6*7)'
  ./caisson run --level gvisor --json -- id
  tar c src | ./caisson run --stdin -- sh -c 'tar x && ls src'
  ./caisson run --in . -- sh -c 'make test'`;

/** The commands. Each loads its own code when it is called, because `run` must start in milliseconds. */
async function build(verb: string | undefined, { home, early }: Surroundings, finish: (status: number) => void): Promise<Command> {
  const program = new Command('caisson').description(OVERVIEW.trim()).version(VERSION, '--version').helpCommand(true).enablePositionalOptions();
  program.exitOverride().configureOutput({ outputError: () => undefined });

  running(program.command('run').summary('run one command in a fresh sandbox'))
    .option('--allow <HOST[:PORT]>', 'let it reach a host by name (port 443; add /tls, /http, /https or /tcp to say what is spoken; /https: requests are read); may be repeated', collect)
    .option('--secret <NAME>', 'let it use a secret of the policy, at its hosts or as a file; may be repeated', collect)
    .option('--policy <FILE>', 'let it reach what the rules in a JSON file allow')
    .option('--image <image>', 'host, the name of an image or its digest (default host)')
    .option('--audit-mirror', 'let it read the records of its own calls at /workspace/audit.jsonl, where the policy has auditMirror')
    .option('--in <dir>', 'bring this folder in as /workspace; the folder itself is only read (see changes, accept, discard)')
    .option('--stdin', 'pass stdin on to the command (default: it reads end of file)')
    .option('--json', 'print one object instead of the streams: exit, reason, level, digests, usage, decision, evidence, timings; with --in or --image that of exec')
    .addHelpText('after', RUN_HELP)
    .action(async (argv: readonly string[], flags: RunFlags) => {
      if (flags.in === undefined && flags.image !== undefined) finish(await (await import('./run-image.ts')).runImage(argv, flags, home));
      else if (flags.in === undefined) finish(await (await import('./run.ts')).run(argv, flags, { home, early }));
      else finish(await (await import('./run-in.ts')).runIn(flags.in, argv, flags, home));
    });

  program
    .command('up')
    .summary('start the daemon (run does it by itself)')
    .option('--detach', 'return when it is ready and leave it running')
    .option('--json', 'print one object')
    .action(async (flags: { readonly detach?: boolean; readonly json?: boolean }) => finish(await (await import('./instance.ts')).up(flags, home)));
  program.command('down').summary('stop the daemon and everything it runs').option('--json', 'print one object').action(async (flags: { readonly json?: boolean }) => finish(await (await import('./instance.ts')).down(flags)));
  program
    .command('status')
    .summary('show processes, host and levels')
    .option('--json', 'print one object')
    .action(async (flags: { readonly json?: boolean }) => finish(await (await import('./instance.ts')).status(flags)));
  program
    .command('doctor')
    .summary('measure the host, then attack every available level from inside')
    .option('--json', 'print one object')
    .option('--level <level>', 'attack this level only')
    .action(async (flags: { readonly json?: boolean; readonly level?: string }) => finish(await (await import('./doctor-command.ts')).doctorCommand(flags, home)));
  program.command('demo').summary('show the main job in half a minute').option('--json', 'print one object').action(async (flags: { readonly json?: boolean }) => finish(await (await import('./demo.ts')).demo(flags, home)));
  if (verb !== 'run') await addRest(program, finish, home);
  const audit = addAudit(program, finish);
  if (verb !== 'run') (await import('./report-program.ts')).addReport(audit, finish, VERSION);
  program
    .command('completion')
    .summary('print a completion script: source <(./caisson completion bash)')
    .argument('<shell>', 'bash or zsh')
    .action(async (shell: string) => finish((await import('./completion.ts')).completion(shell, program)));
  return program;
}

/** What `run` needs not, and does not wait for. */
async function addRest(program: Command, finish: (status: number) => void, home: string): Promise<void> {
  (await import('./sandbox-program.ts')).addSandboxes(program, finish, home);
  (await import('./secrets-program.ts')).addSecrets(program, finish);
  (await import('./brought-program.ts')).addBrought(program, finish);
  (await import('./files-program.ts')).addFiles(program, finish);
  (await import('./egress-program.ts')).addEgress(program, finish, home);
  (await import('./projection-program.ts')).addProjection(program, finish);
  (await import('./witness-program.ts')).addWitness(program, finish);
  (await import('./archive-program.ts')).addArchive(program, finish);
}

function addAudit(program: Command, finish: (status: number) => void): Command {
  const audit = program.command('audit').summary('read and check the record');
  audit
    .command('tail')
    .summary('print the last entries')
    .option('-n, --lines <n>', 'how many', '10')
    .option('--from <N>', 'from this entry on, and not the last ones')
    .option('-f, --follow', 'go on printing as entries come')
    .option('--view <view>', 'the records of Rynxs for them: rynxs (its audit.jsonl) or events (its event log)')
    .option('--json', 'print entries as they stand in the log')
    .action(async (flags: TailFlags) => finish(await (await import('./audit-command.ts')).tail(flags)));
  audit
    .command('verify')
    .summary('check the chain of hashes, without the daemon')
    .option('--head <INDEX:HASH>', 'also check that the log holds this entry, noted down earlier')
    .option('--key <KEY|FILE>', 'a verifier key of the log that you trust, or a file of such; default: those beside the log')
    .option('--witness <vkey...>', 'also check that the log holds the head that is kept with the signatures of these witnesses')
    .option('--quorum <n>', 'how many of them have to have signed it; default: all')
    .option('--witnessed <file>', 'the head that they have signed; default: witness/checkpoint beside the log')
    .option('--timestamps <ca.pem>', 'also check every time-stamped head that is kept, by authorities that these certificates have issued')
    .option('--stamped <dir>', 'where these heads are kept; default: timestamps beside the log')
    .option('--dir <DIR>', 'the folder of a log; default: of this instance')
    .option('--archive <FILE|DIR>', 'what an archive of the log holds: archive.json, or the directory of the archive; with --key')
    .option('--json', 'print one object')
    .action(async (flags: VerifyFlags) => finish(await (await import('./audit-command.ts')).verify(flags)));
  audit
    .command('unseal <entry>')
    .summary('open what an entry seals; that it was opened is recorded')
    .option('--dir <dir>', 'the log to read; default: of this instance')
    .action(async (entry: string, flags: { readonly dir?: string }) => finish(await (await import('./key-commands.ts')).unseal(entry, flags)));
  audit
    .command('erase')
    .summary('erase keys for good: what they sealed opens for nobody, and the log verifies as before')
    .option('--tenant <caller>', 'all that one caller has, as audit tail names callers')
    .option('--before <date>', 'of all callers, the keys of the days before this one, in UTC, such as 2026-01-31')
    .action(async (flags: { readonly tenant?: string; readonly before?: string }) => finish(await (await import('./key-commands.ts')).erase(flags)));
  audit
    .command('rotate-key')
    .summary('give the log another key, and destroy the one it had; while Caisson is down')
    .action(async () => finish(await (await import('./rotate-command.ts')).rotate()));
  audit
    .command('prove <entry>')
    .summary('prove to others that the log holds an entry')
    .option('--dir <dir>', 'the log to read; default: of this instance')
    .option('--out <file>', 'write the proof here, where nothing is yet')
    .action(async (entry: string, flags: { readonly dir?: string; readonly out?: string }) => finish(await (await import('./proof-commands.ts')).prove(entry, flags)));
  audit
    .command('check-proof <file>')
    .summary('check such a proof, without log and daemon, and print the entry')
    .option('--key <vkey|file>', 'verifier keys of the log; default: of this instance')
    .option('--witness <vkey...>', 'who must have seen the head as well')
    .option('--rotation <file...>', 'proofs of the entries that lead from the keys that you have to the one that has signed, in their order')
    .action(async (file: string, flags: { readonly key?: string; readonly witness?: readonly string[]; readonly rotation?: readonly string[] }) => finish(await (await import('./proof-commands.ts')).check(file, flags)));
  return audit;
}

/** What judges the record: 1 is what it has found. */
const JUDGES: readonly (string | undefined)[] = ['inspect', 'replay', 'checkpoint', 'verify-pointers'];

/** What ends with the status of a command. */
const RUNNERS: readonly (string | undefined)[] = ['run', 'exec', 'attach'];

/**
 * Exit status when no command's own status is at hand. What runs commands keeps to 125, so that it cannot be mistaken for
 * the command's; `audit`, the judges, `egress replay` and `policy` use 1 for what they have found only.
 */
function failureStatus(argv: readonly string[], usage: boolean): number {
  const [verb, what] = argv;
  if (RUNNERS.includes(verb) || (verb === 'egress' && what === 'learn')) return EXIT.caisson;
  return usage || verb === 'audit' || JUDGES.includes(verb) || (verb === 'egress' && what === 'replay') || verb === 'policy' ? 2 : 1;
}

export async function main(argv: readonly string[], surroundings: Surroundings): Promise<void> {
  const program = await build(argv[0], surroundings, (status) => (process.exitCode = status));
  // Nobody reads what we print any more, so there is nothing left to do; a call under way is cancelled by our end.
  process.stdout.on('error', () => process.exit(failureStatus(argv, false)));
  process.stderr.on('error', () => undefined);
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    process.exitCode = fail(error, argv);
  }
}

function fail(error: unknown, argv: readonly string[]): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    const detail = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    return say(new CaissonError('USAGE', { detail: detail === '(outputHelp)' ? 'a command is missing' : detail }), argv, failureStatus(argv, true));
  }
  return say(error, argv, failureStatus(argv, error instanceof CaissonError && error.code === 'USAGE'));
}

/** Tells an error in the words that were asked for: with --json it is an object too. */
function say(error: unknown, argv: readonly string[], status: number): number {
  const { code, message, hint } = told(error);
  const own = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv;
  if (own.includes('--json')) process.stdout.write(`${JSON.stringify({ problem: { code, message, hint } })}\n`);
  else process.stderr.write(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
  return status;
}

import type { Command } from 'commander';
import type { LearnFlags } from './egress-learn.ts';
import type { ReplayFlags } from './egress-replay.ts';
import { collect, running } from './options.ts';

const LEARN_HELP = `
The command may speak to any name on any port, as far as the policy lets it; private addresses,
bare addresses and all but TCP are refused as ever. What it used becomes rules that --policy takes:
one for each host and port, with the methods and paths where requests were read (http on port 80,
and where --allow HOST/https asks for it). Read them before you use them.

With --out the streams of the command are its own. Without it all that the command writes goes to
stderr, and stdout is the rules alone. Exit status: as of run.

Examples:
  ./caisson egress learn --out rules.json -- npm ci
  ./caisson egress learn --allow api.example.com/https -- ./agent > rules.json
  ./caisson run --policy rules.json -- npm ci`;

const REPLAY_HELP = `
Decides all that is on record anew, by the functions that the gate decides by, and prints what would
be decided otherwise. FILE holds {"rules": […]} as --policy takes, or is a file of policy test. Budgets
and lengths of bodies are not replayed, nor what no rule decides, such as a private address.

Exit status: 0 nothing differs, 1 something does, 2 it could not be told.

Examples:
  ./caisson egress replay --policy rules.json --since 24h
  ./caisson egress replay --policy rules.json --sandbox sbx-… --json`;

const TEST_HELP = `
FILE says what rules are expected to do, and is kept beside them:
  {"policy": "policy.json", "rules": "rules.json",
   "allow": ["api.example.com:443"],
   "deny": ["169.254.169.254:80", {"host": "api.example.com", "method": "DELETE", "path": "/v1/users"}]}
policy and rules are paths beside FILE, or stand in it; one of them may be left out. See docs/network-rules.md.

Exit status: 0 all is as expected, 1 something is not, 2 the file is bad.`;

/** The commands about rules of the network. Each loads its own code when it is called. */
export function addEgress(program: Command, finish: (status: number) => void, home: string): void {
  const egress = program.command('egress').summary('make rules of what a command uses, and see what rules would change');
  running(egress.command('learn').summary('run a command that may speak to any name, and propose rules for what it used'))
    .option('--out <FILE>', 'write the rules there; without it they go to stdout, and what the command writes to stderr')
    .option('--wildcards', 'one rule *.NAME for three names or more below NAME')
    .option('--allow <HOST[:PORT]>', 'how a host is read, such as HOST/https to learn its requests; may be repeated', collect)
    .option('--policy <FILE>', 'rules that hold beside: what they deny is denied')
    .option('--image <image>', 'host, the name of an image or its digest (default host)')
    .option('--in <dir>', 'bring this folder in as /workspace; the folder itself is only read (see changes, accept, discard)')
    .option('--stdin', 'pass stdin on to the command (default: it reads end of file)')
    .addHelpText('after', LEARN_HELP)
    .action(async (argv: readonly string[], flags: LearnFlags) => finish(await (await import('./egress-learn.ts')).learn(argv, flags, home)));
  egress
    .command('replay')
    .summary('tell what is on record and would be decided otherwise by other rules')
    .requiredOption('--policy <FILE>', 'the other rules')
    .option('--sandbox <id>', 'only what this sandbox did')
    .option('--since <duration|time>', 'only what is younger than 24h, or than 2026-11-27T10:00Z')
    .option('--json', 'print one object')
    .addHelpText('after', REPLAY_HELP)
    .action(async (flags: ReplayFlags) => finish(await (await import('./egress-replay.ts')).replay(flags)));
  program
    .command('policy')
    .summary('check what rules are expected to do')
    .command('test')
    .summary('check that rules allow and deny what a file expects')
    .argument('<file>', 'the expectations, as JSON')
    .option('--json', 'print one object')
    .addHelpText('after', TEST_HELP)
    .action(async (file: string, flags: { readonly json?: boolean }) => finish(await (await import('./policy-test.ts')).policyTest(file, flags)));
}

import type { Command } from 'commander';
import type { Json } from './sandbox-commands.ts';

const HELP = `
What only rules with "hold": true allow waits here: a connection, or a request that the gate reads.
A decision is of that sandbox, host, port and method, and of the rule as it is.`;

/** The commands about what sandboxes wait for. */
export function addApprovals(program: Command, finish: (status: number) => void): void {
  const approvals = program
    .command('approvals')
    .summary('list what sandboxes wait for somebody to decide, and decide it')
    .option('--json', 'print one object')
    .addHelpText('after', HELP)
    .action(async (flags: Json) => finish(await (await import('./approvals-command.ts')).approvals(flags)));
  approvals
    .command('allow')
    .summary('let it go on')
    .argument('<approval>', 'id')
    .option('--once', 'what waits now, and nothing after it (the default)')
    .option('--for <duration>', 'the same again for so long, such as 10m; "sandbox": as long as the sandbox lives')
    .option('--json', 'print one object')
    .action(async (id: string, _flags: Json, command: Command) => finish(await (await import('./approvals-command.ts')).decideApproval(id, 'allow', command.optsWithGlobals())));
  approvals
    .command('deny')
    .summary('refuse it, and the same again for a minute')
    .argument('<approval>', 'id')
    .option('--json', 'print one object')
    .action(async (id: string, _flags: Json, command: Command) => finish(await (await import('./approvals-command.ts')).decideApproval(id, 'deny', command.optsWithGlobals())));
  approvals
    .command('watch')
    .summary('print them as they come, until Ctrl-C')
    .option('--json', 'print one object for each')
    .action(async (_flags: Json, command: Command) => finish(await (await import('./approvals-command.ts')).watchApprovals(command.optsWithGlobals())));
}

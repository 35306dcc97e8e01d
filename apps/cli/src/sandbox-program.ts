import type { Command } from 'commander';
import type { NetworkFlags } from './allow.ts';
import type { ExecFlags, LogsFlags } from './exec-command.ts';
import { addApprovals } from './approvals-program.ts';
import { collect, creating } from './options.ts';
import type { CreateFlags, Json } from './sandbox-commands.ts';

const EXEC_HELP = `
Exit status: that of the command, as with run. The first SIGINT, SIGTERM or SIGHUP is passed on
to the command, a second one kills it. What it writes is kept: ./caisson logs ID EXEC.

Examples:
  id=$(./caisson create --name work --timeout 10m)
  ./caisson exec work -- python3 -c 'print(6*7)'
  ./caisson exec -it work -- bash
  ./caisson exec -d work -- sh -c 'sleep 30; echo done'`;

const ATTACH_HELP = `
Without a command: the one command of the sandbox that has a terminal and runs, or a new shell.
Ctrl-P Ctrl-Q leaves it running and comes back here.`;

/** The commands about sandboxes that stay. Each loads its own code when it is called. */
export function addSandboxes(program: Command, finish: (status: number) => void, home: string): void {
  creating(program.command('create').summary('make a sandbox that stays, and print its id'))
    .option('--from <snapshot>', 'snapshot that a new workspace starts from')
    .action(async (flags: CreateFlags) => finish(await (await import('./sandbox-commands.ts')).create(flags, home)));
  program
    .command('exec')
    .summary('run a command in a sandbox that stays')
    .usage('ID [options] -- COMMAND [ARGUMENT…]')
    .argument('<id>', 'id or name of the sandbox')
    .argument('<command...>', 'program and arguments')
    .option('-d, --detach', 'leave it running, and print its id')
    .option('-t, --tty', 'give it a terminal')
    .option('-i, --interactive', 'pass stdin on to it')
    .option('--env <NAME=VALUE>', 'add a variable; may be repeated', collect)
    .option('--cwd <path>', 'working directory in the sandbox (default /workspace)')
    .option('--timeout <duration>', 'wall time, such as 30s (default and most: as of the sandbox)')
    .option('--json', 'print one object instead of the streams')
    .addHelpText('after', EXEC_HELP)
    .action(async (id: string, argv: readonly string[], flags: ExecFlags) => finish(await (await import('./exec-command.ts')).exec(id, argv, flags)));
  program
    .command('attach')
    .summary('be at the terminal of a command')
    .usage('ID [options] [EXEC | -- COMMAND [ARGUMENT…]]')
    .argument('<id>', 'id or name of the sandbox')
    .argument('[command...]', 'id of an exec, or program and arguments')
    .option('--from <n>', 'replay what it wrote from this offset on (default 0)')
    .option('--json', 'print its end as one object')
    .addHelpText('after', ATTACH_HELP)
    .action(async (id: string, words: readonly string[], flags: Json & { readonly from?: string }) => finish(await (await import('./attach.ts')).attach(id, words, flags)));
  program
    .command('ls')
    .summary('list sandboxes')
    .option('-a, --all', 'also those that have ended')
    .option('--label <NAME=VALUE>', 'only those with this label; may be repeated', collect)
    .option('--json', 'print one object')
    .action(async (flags: Json & { readonly all?: boolean; readonly label?: readonly string[] }) => finish(await (await import('./sandbox-commands.ts')).ls(flags)));
  program
    .command('rm')
    .summary('close sandboxes: every process of them ends')
    .argument('[ids...]', 'ids or names')
    .option('--all', 'all of them')
    .option('--json', 'print one object')
    .action(async (ids: readonly string[], flags: Json & { readonly all?: boolean }) => finish(await (await import('./sandbox-commands.ts')).rm(ids, flags)));
  program
    .command('logs')
    .summary('print what a command wrote, of one that runs what it has written so far; or replay it')
    .argument('<id>', 'id or name of the sandbox')
    .argument('[exec]', 'id of the exec (default: the only one)')
    .option('-f, --follow', 'go on until it ends')
    .option('--from <n>', 'begin at this offset of both streams together')
    .option('--replay', 'show it at the times at which it was written')
    .option('--speed <x>', 'replay so many times as fast')
    .option('--idle-limit <s>', 'replay pauses as at most so many seconds')
    .option('--asciicast', 'print the recording as asciicast v2, which players read')
    .option('--raw', 'print the recording byte for byte')
    .option('--verify', 'compare the recording with the log')
    .option('--json', 'print one object for each piece, with its bytes in base64')
    .action(async (id: string, exec: string | undefined, flags: LogsFlags) => finish(await (await import('./exec-command.ts')).logs(id, exec, flags)));
  program
    .command('ps')
    .summary('list the execs of a sandbox')
    .argument('<id>', 'id or name of the sandbox')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json) => finish(await (await import('./exec-list.ts')).ps(id, flags)));
  program
    .command('kill')
    .summary('send a signal to an exec')
    .argument('<id>', 'id or name of the sandbox')
    .argument('<exec>', 'id of the exec')
    .option('-s, --signal <signal>', 'its name or number', 'SIGTERM')
    .option('--json', 'print one object')
    .action(async (id: string, exec: string, flags: Json & { readonly signal: string }) => finish(await (await import('./exec-list.ts')).kill(id, exec, flags)));
  program
    .command('renew')
    .summary('give a sandbox more or less time, counted from now')
    .argument('<id>', 'id or name')
    .option('--ttl <duration>', 'time after which it is closed, whatever it does')
    .option('--idle <duration>', 'time without use after which it is closed')
    .option('--keep-alive', 'being idle never closes it')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json & { readonly ttl?: string; readonly idle?: string; readonly keepAlive?: boolean }) => finish(await (await import('./sandbox-commands.ts')).renew(id, flags)));
  for (const verb of ['pause', 'resume'] as const) {
    program
      .command(verb)
      .summary(verb === 'pause' ? 'freeze every process of a sandbox' : 'let a paused sandbox go on')
      .argument('<id>', 'id or name')
      .option('--json', 'print one object')
      .action(async (id: string, flags: Json) => finish(await (await import('./sandbox-commands.ts')).setPaused(id, verb === 'pause', flags)));
  }
  program
    .command('network')
    .summary('show what a sandbox may reach and what was refused, or change its rules')
    .argument('<id>', 'id or name')
    .option('--allow <HOST[:PORT]>', 'from now on it may reach this and nothing else (port 443; /tls, /http, /https or /tcp; /https: requests are read); may be repeated', collect)
    .option('--policy <file>', 'the same, from a file of rules')
    .option('--add', 'what it may reach already stays')
    .option('--json', 'print one object')
    .action(async (id: string, flags: NetworkFlags & Json & { readonly add?: boolean }) => finish(await (await import('./network-command.ts')).network(id, flags)));
  addApprovals(program, finish);
  addSnapshots(program, finish);
  addWorkspaces(program, finish);
}

function addWorkspaces(program: Command, finish: (status: number) => void): void {
  const workspaces = program
    .command('workspaces')
    .summary('list workspaces, which outlive their sandboxes')
    .option('-a, --all', 'also those that are of one sandbox only')
    .option('--json', 'print one object')
    .action(async (flags: Json & { readonly all?: boolean }) => finish(await (await import('./workspace-commands.ts')).workspaceLs(flags)));
  workspaces
    .command('rm')
    .summary('remove workspaces and what is in them')
    .argument('<workspaces...>', 'names or ids')
    .option('--json', 'print one object')
    .action(async (names: readonly string[], _flags: Json, command: Command) => finish(await (await import('./workspace-commands.ts')).workspaceRm(names, command.optsWithGlobals())));
  workspaces
    .command('export')
    .summary('write what a workspace holds to the standard output, as a tar archive')
    .argument('<workspace>', 'name or id')
    .action(async (name: string) => finish(await (await import('./workspace-commands.ts')).workspaceExport(name)));
  workspaces
    .command('import')
    .summary('make a workspace of the tar archive on the standard input, and print its id')
    .argument('[name]', 'what to call it; no workspace may be called so; default: a name that is made for it and told')
    .option('--json', 'print one object')
    .action(async (name: string | undefined, _flags: Json, command: Command) => finish(await (await import('./workspace-commands.ts')).workspaceImport(name, command.optsWithGlobals())));
}

function addSnapshots(program: Command, finish: (status: number) => void): void {
  program
    .command('snapshot')
    .summary('keep the files of a sandbox as they are now, and print the id')
    .argument('<id>', 'id or name')
    .option('--label <text>', 'what to call it')
    .option('--memory', 'with its running processes (level gvisor)')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json & { readonly label?: string; readonly memory?: boolean }) => finish(await (await import('./snapshot-commands.ts')).snapshot(id, flags)));
  program
    .command('snapshots')
    .summary('list snapshots')
    .option('--rm <snapshot>', 'remove this one instead')
    .option('--json', 'print one object')
    .action(async (flags: Json & { readonly rm?: string }) => finish(await (await import('./snapshot-commands.ts')).snapshots(flags)));
  creating(program.command('fork').summary('make a sandbox whose files start as those of another, or of a snapshot'))
    .argument('<from>', 'id or name of a sandbox, or id of a snapshot')
    .action(async (from: string, flags: CreateFlags) => finish(await (await import('./snapshot-commands.ts')).fork(from, flags)));
  program
    .command('restore')
    .summary('put the files of a sandbox back to a snapshot; its processes end')
    .argument('<id>', 'id or name')
    .argument('<snapshot>', 'id of the snapshot')
    .option('--json', 'print one object')
    .action(async (id: string, to: string, flags: Json) => finish(await (await import('./snapshot-commands.ts')).restore(id, to, flags)));
  program
    .command('diff')
    .summary('list the files that differ from a snapshot, or from the beginning')
    .argument('<id>', 'id or name')
    .argument('[snapshot]', 'id of the snapshot')
    .option('--json', 'print one object')
    .action(async (id: string, from: string | undefined, flags: Json) => finish(await (await import('./snapshot-commands.ts')).diff(id, from, flags)));
}

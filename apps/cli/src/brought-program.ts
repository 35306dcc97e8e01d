import type { Command } from 'commander';
import type { Json } from './sandbox-commands.ts';

/** The commands about folders that were brought in with `run --in`. */
export function addBrought(program: Command, finish: (status: number) => void): void {
  program
    .command('changes')
    .summary('list what a command changed in the folder that was brought in; without an id, the folders')
    .argument('[id]', 'id that run --in printed')
    .option('--diff', 'show the texts that differ, as a patch')
    .option('--json', 'print one object')
    .action(async (id: string | undefined, flags: Json & { readonly diff?: boolean }) => finish(await (await import('./changes.ts')).changes(id, flags)));
  program
    .command('accept')
    .summary('do the same to the folder, all of it or nothing')
    .argument('<id>', 'id that run --in printed')
    .option('--force', 'also over what has changed in the folder meanwhile')
    .option('--keep', 'keep its workspace to go on in; without it, what is in the folder is not kept twice')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json & { readonly force?: boolean; readonly keep?: boolean }) => finish(await (await import('./accept.ts')).accept(id, flags)));
  program
    .command('discard')
    .summary('drop what was brought in and what became of it')
    .argument('<id>', 'id that run --in printed')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json) => finish(await (await import('./changes.ts')).discard(id, flags)));
}

import type { Command } from 'commander';

/** The commands of a witness. Each loads its own code when it is called. */
export function addWitness(program: Command, finish: (status: number) => void): void {
  const witness = program.command('witness').summary('countersign the heads of logs that only grow');
  witness
    .command('init')
    .summary('make the key, the state folder and the configuration of a witness, and print its verifier key')
    .argument('<name>', 'such as witness.example.com/w1')
    .option('--dir <dir>', 'where', '.')
    .action(async (name: string, flags: { readonly dir: string }) => finish(await (await import('./witness-commands.ts')).init(name, flags)));
  witness
    .command('key')
    .summary('print the verifier key')
    .requiredOption('--config <file>', 'its configuration')
    .action(async (flags: { readonly config: string }) => finish(await (await import('./witness-commands.ts')).key(flags)));
  witness
    .command('run')
    .summary('answer logs until it is told to end')
    .requiredOption('--config <file>', 'its configuration')
    .action(async (flags: { readonly config: string }) => finish(await (await import('./witness-commands.ts')).serve(flags)));
}

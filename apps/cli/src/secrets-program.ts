import type { Command } from 'commander';
import type { Json } from './sandbox-commands.ts';

/** The commands about secrets. Each loads its own code when it is called. */
export function addSecrets(program: Command, finish: (status: number) => void): void {
  const secrets = program.command('secrets').summary('secrets that sandboxes may use');
  secrets
    .command('ls')
    .summary('list the secrets of a sandbox, and how often they were used')
    .argument('<id>', 'id or name')
    .option('--json', 'print one object')
    .action(async (id: string, flags: Json) => finish(await (await import('./secrets-commands.ts')).secretsLs(id, flags)));
  secrets
    .command('revoke')
    .summary('take a secret from a sandbox: its file, or its placeholder and the connections that it went out on')
    .argument('<id>', 'id or name')
    .argument('<secret>', 'its name in the policy')
    .option('--json', 'print one object')
    .action(async (id: string, secret: string, flags: Json) => finish(await (await import('./secrets-commands.ts')).secretsRevoke(id, secret, flags)));
  secrets
    .command('rotate')
    .summary('take the value of a secret anew from where it comes, and print the ids of the sandboxes that have it')
    .argument('<secret>', 'its name in the policy')
    .option('--json', 'print one object')
    .action(async (secret: string, flags: Json) => finish(await (await import('./secrets-commands.ts')).secretsRotate(secret, flags)));
}

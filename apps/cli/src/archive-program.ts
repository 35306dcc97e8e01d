import type { Command } from 'commander';
import type { PolicyFlags, TrustFlags } from './archive-command.ts';
import { collect } from './options.ts';

const POLICY_HELP = `
It denies, whatever IAM grants in the same account: a write without a condition, a write outside the
log or by another role, removal, and changes of the bucket by all but --break-glass. See docs/archive.md.

Example:
  ./caisson archive policy --bucket B --prefix logs/one/ --role ARN --break-glass ARN --reader ARN > policy.json`;

/** The commands about the archive of the evidence. Each loads its own code when it is called. */
export function addArchive(program: Command, finish: (status: number) => void): void {
  const archive = program.command('archive').summary('print what guards the archive of the evidence in S3');
  archive
    .command('policy')
    .summary('print the policy of a bucket')
    .requiredOption('--bucket <name>', 'the bucket')
    .option('--prefix <prefix>', 'what stands before every key, with a slash at its end', '')
    .requiredOption('--role <arn>', 'the role of the archiver, the only one that writes')
    .requiredOption('--break-glass <arn>', 'the role that may remove and change, and that nobody has on an ordinary day')
    .option('--reader <arn>', 'a role that may read; may be repeated', collect)
    .option('--lock-days <n>', 'longest retention that the archiver may set (default: none)')
    .addHelpText('after', POLICY_HELP)
    .action(async (flags: PolicyFlags) => finish(await (await import('./archive-command.ts')).policy(flags)));
  archive
    .command('trust')
    .summary('print the trust policy of the role of the archiver in a cluster')
    .requiredOption('--oidc <arn>', 'the identity provider of the cluster')
    .requiredOption('--service-account <namespace/name>', 'the only one that may have the role')
    .action(async (flags: TrustFlags) => finish(await (await import('./archive-command.ts')).trust(flags)));
}

import { bucketPolicy, writerTrust } from '@caisson/archive/policy';
import { CaissonError } from '@caisson/contract/errors';
import { print } from './say.ts';

export interface PolicyFlags {
  readonly bucket: string;
  readonly prefix: string;
  readonly role: string;
  readonly breakGlass: string;
  readonly reader?: readonly string[];
  readonly lockDays?: string;
}

export interface TrustFlags {
  readonly oidc: string;
  readonly serviceAccount: string;
}

/** A wildcard in a name would be one in the policy. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PREFIX = /^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/;
const ROLE = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/;
const PROVIDER = /^arn:aws[a-z-]*:iam::\d{12}:oidc-provider\/[\w./-]+$/;
const DAYS = /^[1-9]\d{0,4}$/;
const ACCOUNT = /^([a-z0-9][a-z0-9-]*)\/([a-z0-9][a-z0-9.-]*)$/;

export async function policy({ bucket, prefix, role, breakGlass, reader = [], lockDays }: PolicyFlags): Promise<number> {
  check('--bucket', bucket, BUCKET, 'the name of a bucket');
  check('--prefix', prefix, PREFIX, 'names that each end in a slash');
  for (const [name, arn] of [['--role', role], ['--break-glass', breakGlass], ...reader.map((one) => ['--reader', one] as const)] as const) check(name, arn, ROLE, 'the ARN of a role');
  if (role === breakGlass) throw new CaissonError('USAGE', { detail: '--break-glass: must not be the role of the archiver' });
  if (lockDays !== undefined) check('--lock-days', lockDays, DAYS, 'a number of days');
  print(`${JSON.stringify(bucketPolicy({ bucket, prefix, writer: role, breakGlass, readers: reader, lockDays: lockDays === undefined ? undefined : Number(lockDays) }), null, 2)}\n`);
  return 0;
}

export async function trust({ oidc, serviceAccount }: TrustFlags): Promise<number> {
  check('--oidc', oidc, PROVIDER, 'the ARN of an identity provider');
  const [, namespace, name] = ACCOUNT.exec(serviceAccount) ?? [];
  if (namespace === undefined || name === undefined) throw new CaissonError('USAGE', { detail: `--service-account: ${serviceAccount} is not a namespace and a name` });
  print(`${JSON.stringify(writerTrust({ provider: oidc, namespace, serviceAccount: name }), null, 2)}\n`);
  return 0;
}

function check(flag: string, value: string, form: RegExp, what: string): void {
  if (!form.test(value)) throw new CaissonError('USAGE', { detail: `${flag}: ${value} is not ${what}` });
}

/** Who may do what in a bucket of archives. ARNs of roles; of one account or of several. */
export interface PolicyOptions {
  readonly bucket: string;
  /** What stands before every key; empty or ending in a slash. */
  readonly prefix: string;
  /** The one that the archiver has. */
  readonly writer: string;
  /** The one that may remove, unlock and change the policy, and that nobody has on an ordinary day. */
  readonly breakGlass: string;
  /** Those of auditors. Nobody else reads. */
  readonly readers: readonly string[];
  /** Longest retention that the archiver may set, in days. Default: it may set none. */
  readonly lockDays?: number | undefined;
}

type Conditions = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Principal: '*' | Readonly<Record<string, string | readonly string[]>>;
  readonly Action: string | readonly string[];
  readonly Resource?: string | readonly string[];
  readonly NotResource?: string | readonly string[];
  readonly Condition?: Conditions;
}

export interface PolicyDocument {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

/** What removes, unlocks, opens or redirects: of objects, and of the bucket. */
const OBJECT_CONTROL = [
  's3:DeleteObject*', 's3:PutObjectAcl', 's3:PutObjectVersionAcl', 's3:PutObjectTagging', 's3:PutObjectVersionTagging', 's3:PutObjectLegalHold',
  's3:BypassGovernanceRetention', 's3:ObjectOwnerOverrideToBucketOwner', 's3:Replicate*', 's3:RestoreObject', 's3:UpdateObjectEncryption',
];
const BUCKET_CONTROL = [
  's3:DeleteBucket*', 's3:PutBucket*', 's3:PutLifecycleConfiguration', 's3:PutReplicationConfiguration', 's3:PutEncryptionConfiguration',
  's3:PutIntelligentTieringConfiguration', 's3:PutInventoryConfiguration', 's3:PutAnalyticsConfiguration', 's3:PutMetricsConfiguration', 's3:PutAccelerateConfiguration',
];

/**
 * The policy of a bucket. Its Denies hold whatever IAM grants in the same account, for a Deny comes before every Allow (IAM user
 * guide, policy evaluation logic); its Allows are what the roles need. Nobody writes without a condition, the writer included.
 */
export function bucketPolicy(options: PolicyOptions): PolicyDocument {
  const { bucket, prefix, writer, breakGlass, readers } = options;
  const arn = `arn:aws:s3:::${bucket}`;
  const [tiles, heads, checkpoint] = [`${arn}/${prefix}tile/*`, `${arn}/${prefix}heads/*`, `${arn}/${prefix}checkpoint`];
  const whole = [arn, `${arn}/*`];
  const notOf = (...roles: readonly string[]): Conditions => ({ ArnNotEquals: { 'aws:PrincipalArn': [...new Set(roles)] } });
  // Parts of an upload carry no condition; the request that makes the object of them does, and so does a copy.
  const makesObject = { Bool: { 's3:ObjectCreationOperation': 'true' } };
  return {
    Version: '2012-10-17',
    Statement: [
      deny('NoPlainHttp', 's3:*', whole, { Bool: { 'aws:SecureTransport': 'false' } }),
      deny('OnlyTheWriterPuts', ['s3:PutObject', 's3:AbortMultipartUpload'], `${arn}/*`, notOf(writer)),
      { Sid: 'OnlyFilesOfTheLog', Effect: 'Deny', Principal: '*', Action: 's3:PutObject', NotResource: [tiles, heads, checkpoint] },
      deny('NothingOverAnObject', 's3:PutObject', [tiles, heads], { Null: { 's3:if-none-match': 'true' }, ...makesObject }),
      deny('NothingInPlaceOfAnObject', 's3:PutObject', [tiles, heads], { Null: { 's3:if-match': 'false' }, ...makesObject }),
      deny('NoHeadUnseen', 's3:PutObject', checkpoint, { Null: { 's3:if-none-match': 'true', 's3:if-match': 'true' }, ...makesObject }),
      deny('ObjectsStay', OBJECT_CONTROL, `${arn}/*`, notOf(breakGlass)),
      deny('TheBucketStays', BUCKET_CONTROL, arn, notOf(breakGlass)),
      ...retention(options, arn, notOf),
      deny('OthersDoNotRead', ['s3:GetObject*', 's3:ListBucket*', 's3:ListMultipartUploadParts'], whole, notOf(writer, breakGlass, ...readers)),
      allow('TheWriterWrites', [writer], 's3:PutObject', [tiles, heads, checkpoint]),
      allow('ReadersRead', [writer, ...readers], ['s3:GetObject', 's3:GetObjectVersion'], [tiles, heads, checkpoint]),
      // Without it S3 does not say that an object is not there.
      allow('ReadersList', [writer, ...readers], ['s3:ListBucket', 's3:ListBucketVersions'], arn),
    ],
  };
}

/** A lock is set by the write that makes the object, and takes a right of its own. */
function retention({ writer, breakGlass, lockDays, bucket, prefix }: PolicyOptions, arn: string, notOf: (...roles: readonly string[]) => Conditions): readonly Statement[] {
  const action = 's3:PutObjectRetention';
  if (lockDays === undefined) return [deny('NobodyLocks', action, `${arn}/*`, notOf(breakGlass))];
  return [
    deny('OnlyTheWriterLocks', action, `${arn}/*`, notOf(writer, breakGlass)),
    deny('NoLongerThan', action, `${arn}/*`, { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': String(lockDays + 1) }, ...notOf(breakGlass) }),
    allow('TheWriterLocks', [writer], action, [`arn:aws:s3:::${bucket}/${prefix}tile/*`, `arn:aws:s3:::${bucket}/${prefix}heads/*`]),
  ];
}

function deny(Sid: string, Action: string | readonly string[], Resource: string | readonly string[], Condition: Conditions): Statement {
  return { Sid, Effect: 'Deny', Principal: '*', Action, Resource, Condition };
}

function allow(Sid: string, roles: readonly string[], Action: string | readonly string[], Resource: string | readonly string[]): Statement {
  return { Sid, Effect: 'Allow', Principal: { AWS: roles }, Action, Resource };
}

export interface TrustOptions {
  /** ARN of the identity provider of the cluster, `arn:aws:iam::ACCOUNT:oidc-provider/ISSUER`. */
  readonly provider: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Trust policy of the writer's role: one service account of one cluster may assume it, and nobody else. */
export function writerTrust({ provider, namespace, serviceAccount }: TrustOptions): PolicyDocument {
  const issuer = provider.slice(provider.indexOf('oidc-provider/') + 'oidc-provider/'.length);
  const condition = { StringEquals: { [`${issuer}:sub`]: `system:serviceaccount:${namespace}:${serviceAccount}`, [`${issuer}:aud`]: 'sts.amazonaws.com' } };
  return { Version: '2012-10-17', Statement: [{ Sid: 'OneServiceAccount', Effect: 'Allow', Principal: { Federated: provider }, Action: 'sts:AssumeRoleWithWebIdentity', Condition: condition }] };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketPolicy, writerTrust, type PolicyDocument } from '@caisson/archive/policy';
import { cli } from '../cli/given.ts';
import { evaluate, type IamRequest, type IdentityStatement, type Verdict } from './iam.ts';

const ROLES = {
  writer: 'arn:aws:iam::111122223333:role/archiver',
  breakGlass: 'arn:aws:iam::111122223333:role/break-glass',
  reader: 'arn:aws:iam::444455556666:role/auditor',
  admin: 'arn:aws:iam::111122223333:role/administrator',
};
const BUCKET = 'arn:aws:s3:::evidence';
const OPTIONS = { bucket: 'evidence', prefix: 'logs/one/', writer: ROLES.writer, breakGlass: ROLES.breakGlass, readers: [ROLES.reader], lockDays: 30 };
/** What an administrator of the same account grants: everything, to everybody. */
const ALL: readonly IdentityStatement[] = [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }];

/** The policy as the command prints it, read back. */
async function printed(): Promise<PolicyDocument> {
  const { bucket, prefix, writer, breakGlass } = OPTIONS;
  const { status, stdout, stderr } = await cli({ ...process.env }, ['archive', 'policy', '--bucket', bucket, '--prefix', prefix, '--role', writer, '--break-glass', breakGlass, '--reader', ROLES.reader, '--lock-days', '30']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.toString()) as PolicyDocument;
}

const TLS = { 'aws:SecureTransport': 'true' };
const MAKES = { ...TLS, 's3:ObjectCreationOperation': 'true' };
const NEW = { ...MAKES, 's3:if-none-match': '*' };
const SEEN = { ...MAKES, 's3:if-match': 'etag' };
const key = (path: string): string => `${BUCKET}/logs/one/${path}`;
const put = (path: string, context: Readonly<Record<string, string>>, principal: string | null = ROLES.writer): IamRequest => ({ principal, action: 's3:PutObject', resource: key(path), context });

function judge(policy: PolicyDocument, request: IamRequest): Verdict {
  return evaluate(request, policy, request.principal === null ? [] : ALL);
}

test('the command prints the policy that is tested here', async () => {
  assert.deepEqual(await printed(), JSON.parse(JSON.stringify(bucketPolicy(OPTIONS))));
  const { status, stderr } = await cli({ ...process.env }, ['archive', 'policy', '--bucket', 'evidence', '--role', 'archiver', '--break-glass', ROLES.breakGlass]);
  assert.equal(status, 2);
  assert.match(stderr, /^caisson: USAGE: .*--role: archiver is not the ARN of a role/m);
});

test('what the archiver and auditors need is allowed by the policy alone, without a grant in IAM', () => {
  const policy = bucketPolicy(OPTIONS);
  for (const request of [
    put('tile/0/000', NEW), put('tile/entries/x001/067.p/3', NEW), put('heads/00000000000000000001', NEW), put('checkpoint', NEW), put('checkpoint', SEEN),
    { principal: ROLES.writer, action: 's3:PutObjectRetention', resource: key('tile/0/000'), context: { ...TLS, 's3:object-lock-remaining-retention-days': '30' } },
    ...[ROLES.writer, ROLES.reader].flatMap((principal) => [
      { principal, action: 's3:GetObject', resource: key('checkpoint'), context: TLS },
      { principal, action: 's3:ListBucket', resource: BUCKET, context: TLS },
    ]),
  ]) assert.equal(evaluate(request, policy), 'allowed', JSON.stringify(request));
});

const OBJECT_ATTACKS = [
  's3:DeleteObject', 's3:DeleteObjectVersion', 's3:DeleteObjectTagging', 's3:PutObjectAcl', 's3:PutObjectVersionAcl', 's3:PutObjectTagging', 's3:PutObjectLegalHold',
  's3:BypassGovernanceRetention', 's3:ReplicateObject', 's3:ReplicateDelete', 's3:ObjectOwnerOverrideToBucketOwner',
];
const BUCKET_ATTACKS = [
  's3:DeleteBucket', 's3:PutBucketPolicy', 's3:DeleteBucketPolicy', 's3:PutLifecycleConfiguration', 's3:PutBucketVersioning', 's3:PutBucketObjectLockConfiguration', 's3:PutBucketAcl',
  's3:PutBucketOwnershipControls', 's3:PutBucketPublicAccessBlock', 's3:PutReplicationConfiguration', 's3:PutEncryptionConfiguration', 's3:PutBucketLogging', 's3:PutBucketWebsite',
];

/** Each is made by roles to which IAM of the same account grants s3:*. */
const ATTACKS: readonly (readonly [string, readonly IamRequest[]])[] = [
  ['writes a tile or a head without a condition', ['tile/0/000', 'heads/00000000000000000001'].map((path) => put(path, MAKES))],
  ['writes over a tile that it has seen', [put('tile/0/000', SEEN), put('tile/0/000', { ...SEEN, ...NEW })]],
  ['writes the checkpoint without having seen it', [put('checkpoint', MAKES)]],
  ['makes an object of parts, or by a copy, without a condition', [put('tile/0/000', MAKES), put('checkpoint', MAKES)]],
  ['writes outside the log', ['logs/two/tile/0/000', 'tile/0/000', 'logs/one/other', 'logs/one/checkpoint2', 'logs/one/tile', 'events/0.json'].flatMap((path) =>
    [NEW, SEEN, TLS].map((context) => ({ principal: ROLES.writer, action: 's3:PutObject', resource: `${BUCKET}/${path}`, context })))],
  ['writes although it is not the archiver', [ROLES.admin, ROLES.breakGlass, ROLES.reader].flatMap((principal) => [NEW, SEEN, TLS].flatMap((context) => ['tile/0/000', 'checkpoint'].map((path) => put(path, context, principal))))],
  ['removes, unlocks or opens an object', [ROLES.writer, ROLES.admin, ROLES.reader].flatMap((principal) => OBJECT_ATTACKS.map((action) => ({ principal, action, resource: key('tile/0/000'), context: TLS })))],
  ['changes the bucket: policy, lifecycle, versioning, lock, access, replication', [ROLES.writer, ROLES.admin, ROLES.reader].flatMap((principal) => BUCKET_ATTACKS.map((action) => ({ principal, action, resource: BUCKET, context: TLS })))],
  ['locks for longer than was agreed, or at all although it is not the archiver', [
    { principal: ROLES.writer, action: 's3:PutObjectRetention', resource: key('tile/0/000'), context: { ...TLS, 's3:object-lock-remaining-retention-days': '36500' } },
    { principal: ROLES.admin, action: 's3:PutObjectRetention', resource: key('tile/0/000'), context: TLS },
  ]],
  ['reads although it is no auditor', ['s3:GetObject', 's3:GetObjectVersion'].map((action) => ({ principal: ROLES.admin, action, resource: key('tile/entries/000'), context: TLS }))],
  ['speaks without TLS', [put('tile/0/000', { ...NEW, 'aws:SecureTransport': 'false' }), { principal: ROLES.reader, action: 's3:GetObject', resource: key('checkpoint'), context: { 'aws:SecureTransport': 'false' } }]],
  ['does any of it without a name', ['s3:PutObject', 's3:GetObject', ...OBJECT_ATTACKS].map((action) => ({ principal: null, action, resource: key('tile/0/000'), context: NEW }))],
];

for (const [what, requests] of ATTACKS) {
  test(`whoever ${what} is denied, whatever IAM grants in the same account`, () => {
    const policy = bucketPolicy(OPTIONS);
    for (const request of requests) assert.equal(judge(policy, request), 'denied', JSON.stringify(request));
  });
}

test('parts of an upload need no condition, and what makes the object of them does', () => {
  const policy = bucketPolicy(OPTIONS);
  const part = { ...TLS, 's3:ObjectCreationOperation': 'false' };
  assert.equal(judge(policy, put('tile/0/000', part)), 'allowed');
  assert.equal(judge(policy, put('tile/0/000', MAKES)), 'denied');
  assert.equal(judge(policy, put('tile/0/000', NEW)), 'allowed');
});

test('the role for emergencies removes and changes, and nothing but it does', () => {
  const policy = bucketPolicy(OPTIONS);
  for (const action of OBJECT_ATTACKS) assert.equal(judge(policy, { principal: ROLES.breakGlass, action, resource: key('tile/0/000'), context: TLS }), 'allowed', action);
  for (const action of BUCKET_ATTACKS) assert.equal(judge(policy, { principal: ROLES.breakGlass, action, resource: BUCKET, context: TLS }), 'allowed', action);
});

test('without a lock nobody but the role for emergencies locks', () => {
  const { lockDays: _, ...rest } = OPTIONS;
  const request = { action: 's3:PutObjectRetention', resource: key('tile/0/000'), context: TLS };
  assert.equal(judge(bucketPolicy(rest), { principal: ROLES.writer, ...request }), 'denied');
  assert.equal(judge(bucketPolicy(rest), { principal: ROLES.breakGlass, ...request }), 'allowed');
});

test('whatever the request, nobody but the archiver writes, and no object is made or replaced in silence', () => {
  const policy = bucketPolicy(OPTIONS);
  const paths = fc.oneof(fc.constantFrom('tile/0/000', 'heads/1', 'checkpoint', 'x'), fc.string());
  const context = fc.record({ 's3:if-none-match': fc.constant('*'), 's3:if-match': fc.constant('e'), 's3:ObjectCreationOperation': fc.constantFrom('true', 'false'), 'aws:SecureTransport': fc.constantFrom('true', 'false') }, { requiredKeys: ['s3:ObjectCreationOperation', 'aws:SecureTransport'] });
  fc.assert(fc.property(paths, context, fc.constantFrom(...Object.values(ROLES)), (path, keys, principal) => {
    const request = put(path, keys, principal);
    if (judge(policy, request) !== 'allowed') return;
    assert.equal(principal, ROLES.writer);
    assert.equal(keys['aws:SecureTransport'], 'true');
    assert.ok(path === 'checkpoint' || path.startsWith('tile/') || path.startsWith('heads/'));
    if (keys['s3:ObjectCreationOperation'] === 'false') return;
    assert.ok(keys['s3:if-none-match'] !== undefined || (path === 'checkpoint' && keys['s3:if-match'] !== undefined));
  }), { numRuns: 2_000 });
});

test('an Allow with a condition, as is often shipped, is undone by one grant in IAM: the evaluator sees the difference', () => {
  const weak: PolicyDocument = { Version: '2012-10-17', Statement: [{ Sid: 'Weak', Effect: 'Allow', Principal: { AWS: ROLES.writer }, Action: 's3:PutObject', Resource: `${BUCKET}/*`, Condition: { Null: { 's3:if-none-match': 'false' } } }] };
  assert.equal(evaluate(put('tile/0/000', MAKES), weak), 'not allowed');
  assert.equal(judge(weak, put('tile/0/000', MAKES)), 'allowed');
});

test('the role of the archiver is assumed by one service account of one cluster, and by no other', async () => {
  const provider = 'arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/ABC';
  const { status, stdout, stderr } = await cli({ ...process.env }, ['archive', 'trust', '--oidc', provider, '--service-account', 'caisson/archiver']);
  assert.equal(status, 0, stderr);
  const trust = JSON.parse(stdout.toString()) as PolicyDocument;
  assert.deepEqual(trust, writerTrust({ provider, namespace: 'caisson', serviceAccount: 'archiver' }));
  const assume = (sub: string, aud = 'sts.amazonaws.com', from = provider): Verdict =>
    evaluate({ principal: null, provider: from, action: 'sts:AssumeRoleWithWebIdentity', resource: '', context: { 'oidc.example.com/id/ABC:sub': sub, 'oidc.example.com/id/ABC:aud': aud } }, trust);
  assert.equal(assume('system:serviceaccount:caisson:archiver'), 'allowed');
  for (const other of ['system:serviceaccount:caisson:control', 'system:serviceaccount:other:archiver', 'system:serviceaccount:caisson:archiver2', '']) assert.equal(assume(other), 'not allowed');
  assert.equal(assume('system:serviceaccount:caisson:archiver', 'other'), 'not allowed');
  assert.equal(assume('system:serviceaccount:caisson:archiver', undefined, `${provider}X`), 'not allowed');
});

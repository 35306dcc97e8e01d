import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lease, leaseEnv, SecretRule, termsOf } from '@caisson/contract';
import type { Vault } from '@caisson/vault';
import { CANARY, files, GROUND, HOST, leaseOne, openVault, rule, SANDBOX, type Clock, type Files } from './given.ts';

const KEY = `${CANARY}/K7MDENG+bPxRfiCYEXAMPLEKEY`;
const PRINTED = { Version: 1, AccessKeyId: 'AKIDREAL', SecretAccessKey: KEY };
const NOW = Date.parse('2026-11-27T21:45:00Z');
const at = (ms: number): string => new Date(ms).toISOString();

/** A vault with one secret for AWS, whose file can be written anew. */
function given(files_: Files, printed: unknown, clock: Clock = { ms: NOW }): { readonly vault: Vault; print(printed: unknown): void } {
  const print = (value: unknown): void => void files_.file('aws', typeof value === 'string' ? value : JSON.stringify(value, null, 2));
  print(printed);
  return { vault: openVault({ aws: rule(`file:/${files_.dir.slice(1)}/aws`, { at: 'sigv4' }) }, { clock }), print };
}

const valueOf = (vault: Vault, lease: Lease): unknown => JSON.parse(vault.value({ sandbox: SANDBOX, lease: lease.id, host: HOST, terms: termsOf(lease) }));

test('what credential_process prints becomes one pair of keys, and commands find another that opens nothing', async () => {
  using dir = files();
  const { vault, print } = given(dir, PRINTED);
  using _ = vault;
  const lease = await leaseOne(vault, 'aws');
  assert.deepEqual(Lease.parse(lease), lease);
  assert.match(lease.placeholder, /^AKIA[A-Z0-9]{16}$/);
  assert.deepEqual(leaseEnv(lease), { AWS_ACCESS_KEY_ID: lease.placeholder, AWS_SECRET_ACCESS_KEY: lease.placeholder.repeat(2) });
  assert.deepEqual(valueOf(vault, lease), { accessKeyId: 'AKIDREAL', secretAccessKey: KEY, sessionToken: null, expiresMs: null });
  print({ ...PRINTED, SessionToken: 'a-session-token-of-sts', Expiration: '2026-11-28T00:00:00+01:00', AccountId: '0123' });
  await vault.rotate('aws');
  assert.deepEqual(valueOf(vault, lease), { accessKeyId: 'AKIDREAL', secretAccessKey: KEY, sessionToken: 'a-session-token-of-sts', expiresMs: Date.parse('2026-11-27T23:00:00Z') });
});

test('every placeholder is another, and a vault that is started anew knows them by their shape', async () => {
  using dir = files();
  const { vault } = given(dir, PRINTED);
  const lease = await leaseOne(vault, 'aws');
  assert.notEqual((await leaseOne(vault, 'aws', { sandbox: 'sbx-0000000000000002' })).placeholder, lease.placeholder);
  vault[Symbol.dispose]();
  using next = given(dir, PRINTED).vault;
  const restored = await next.restore({ sandbox: SANDBOX, leases: [lease] });
  assert.deepEqual(restored.leases.map((one) => ('file' in one ? [] : [one.placeholder, one.env])), [[lease.placeholder, 'AWS_ACCESS_KEY_ID']]);
  using another = given(dir, PRINTED).vault;
  const { refused } = await another.restore({ sandbox: SANDBOX, leases: [{ ...lease, placeholder: 'caisson-0123456789abcdefghijABCDEFGHIJ0123456789' }] });
  assert.deepEqual(refused.map(({ problem }) => problem.code), ['LEASE_NOT_FOUND']);
});

test('what is no such output is refused by the names of its fields, and no part of it is told', async () => {
  using dir = files();
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [CANARY, /no object of JSON/], [`"${CANARY}"`, /no object of JSON/], ['[]', /no object of JSON/], [`{"Version": 1, "AccessKeyId": "${CANARY}`, /no object of JSON/],
    [{ ...PRINTED, Version: 2 }, /Version/], [{ ...PRINTED, Version: '1' }, /Version/], [{ Version: 1, AccessKeyId: 'AKID' }, /SecretAccessKey/], [{ ...PRINTED, AccessKeyId: 7 }, /AccessKeyId/],
    [{ ...PRINTED, AccessKeyId: `${CANARY}/x` }, /accessKeyId/], [{ ...PRINTED, AccessKeyId: `A, Signature=${CANARY}` }, /accessKeyId/], [{ ...PRINTED, SecretAccessKey: `${CANARY}\n` }, /secretAccessKey/],
    [{ ...PRINTED, SecretAccessKey: 'short' }, /secretAccessKey/], [{ ...PRINTED, SessionToken: `${CANARY}\r\nX-Evil: 1` }, /sessionToken/], [{ ...PRINTED, SessionToken: CANARY.repeat(400) }, /sessionToken/],
    [{ ...PRINTED, Expiration: CANARY }, /expiresMs/], [{ ...PRINTED, Expiration: '27 Nov 2026' }, /expiresMs/], [{ ...PRINTED, Expiration: '2026-11-27T21:45:00' }, /expiresMs/], [{ ...PRINTED, Expiration: 1 }, /Expiration/],
    [{ ...PRINTED, Expiration: at(NOW) }, /its Expiration was over at 2026-11-27T21:45:00.000Z/], [{ ...PRINTED, Other: 'x'.repeat(70_000) }, /longer than 65536 bytes/],
  ];
  for (const [printed, why] of bad) {
    using vault = given(dir, printed).vault;
    const error = await leaseOne(vault, 'aws').then(() => assert.fail(JSON.stringify(printed)), (thrown: Error & { readonly code?: string }) => thrown);
    assert.equal(error.code, 'SECRET_UNAVAILABLE');
    assert.match(error.message, why);
    for (let from = 0; from + 6 <= CANARY.length; from++) assert.ok(!`${error.message} ${error.stack ?? ''}`.includes(CANARY.slice(from, from + 6)), error.message);
  }
});

test('credentials that are over soon are looked up anew when they are asked for, once for all, and over they are given to nobody', async () => {
  using dir = files();
  const clock: Clock = { ms: NOW };
  const { vault, print } = given(dir, { ...PRINTED, Expiration: at(NOW + 600_000) }, clock);
  using _ = vault;
  const [mine, theirs] = [await leaseOne(vault, 'aws'), await leaseOne(vault, 'aws', { sandbox: 'sbx-0000000000000002' })];
  const asked = { sandbox: SANDBOX, lease: mine.id };
  const id = (): string => (valueOf(vault, mine) as { readonly accessKeyId: string }).accessKeyId;
  print({ ...PRINTED, AccessKeyId: 'SECOND', Expiration: at(NOW + 1_200_000) });
  await vault.renew(asked);
  assert.equal(id(), 'AKIDREAL', 'they are good for long');
  clock.ms = NOW + 500_000;
  await Promise.all([vault.renew(asked), vault.renew({ sandbox: 'sbx-0000000000000002', lease: theirs.id })]);
  assert.equal(id(), 'SECOND');
  print('nothing');
  clock.ms = NOW + 1_199_999;
  await vault.renew(asked);
  assert.equal(id(), 'SECOND', 'the old ones hold until they are over');
  clock.ms = NOW + 1_200_000;
  await vault.renew(asked);
  assert.throws(id, { code: 'SECRET_UNAVAILABLE', message: /its Expiration is over/ });
  print({ ...PRINTED, AccessKeyId: 'THIRD', Expiration: at(NOW + 3_600_000) });
  await vault.renew(asked);
  assert.equal(id(), 'THIRD');
  await vault.renew({ sandbox: SANDBOX, lease: 'lea-9999999999999999' });
});

test('any source can be one of AWS, and other secrets stay texts of one line', async () => {
  const pretty = JSON.stringify(PRINTED, null, 2);
  using vault = openVault({ aws: rule('env:PRETTY', { at: 'sigv4', env: 'PROD_ACCESS_KEY_ID', aws: { regions: ['eu-west-1'] } }), text: rule('env:PRETTY') }, { ground: { ...GROUND, env: { PRETTY: pretty } } });
  const lease = await leaseOne(vault, 'aws');
  assert.deepEqual(lease.aws, { regions: ['eu-west-1'] });
  assert.deepEqual(Object.keys(leaseEnv(lease)), ['PROD_ACCESS_KEY_ID', 'PROD_SECRET_ACCESS_KEY']);
  await assert.rejects(leaseOne(vault, 'text'), { code: 'SECRET_UNAVAILABLE', message: /line break/ });
});

test('a rule of the policy says of AWS what fits, and nothing else', () => {
  const problemsOf = (more: object): readonly string[] => (SecretRule.safeParse({ from: 'env:A', hosts: [HOST], ...more }).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
  for (const good of [{ at: 'sigv4' }, { at: 'sigv4', aws: {} }, { at: 'sigv4', aws: { regions: ['eu-west-1'], services: ['s3'] }, env: 'MY_AWS_ACCESS_KEY_ID' }]) assert.deepEqual(problemsOf(good), []);
  for (const [bad, why] of [
    [{ aws: { services: ['s3'] } }, /^aws: is of a secret with at: sigv4/], [{ at: 'bearer', aws: {} }, /^aws:/], [{ at: 'sigv4', prefix: 'AKIA' }, /^prefix: is none of at: sigv4/],
    [{ at: 'sigv4', env: 'AWS_KEY' }, /^env: .*ends in ACCESS_KEY_ID/], [{ at: 'sigv4', aws: { services: [] } }, /^aws\.services/], [{ at: 'sigv4', aws: { region: 'x' } }, /^aws/], [{ at: 'sigv4', aws: { regions: ['a/b'] } }, /^aws\.regions/], [{ at: 'sigv5' }, /^at: must be/],
  ] as const) assert.match(problemsOf(bad).join('\n'), why, JSON.stringify(bad));
});

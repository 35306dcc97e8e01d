import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problemOf } from '@caisson/contract';
import { leaseOne, openVault, rule, SANDBOX } from '../vault/given.ts';

test('SECRET_UNKNOWN: a secret that the policy does not name', async () => {
  using vault = openVault({ key: rule('env:API_KEY') });
  await assert.rejects(leaseOne(vault, 'other'), { code: 'SECRET_UNKNOWN', message: 'no secret other may be asked for', hint: /secrets in the policy file/ });
});

test('SECRET_UNAVAILABLE: what the policy refers to is not there', async () => {
  using vault = openVault({ key: rule('env:NONE') });
  await assert.rejects(leaseOne(vault, 'key'), { code: 'SECRET_UNAVAILABLE', message: 'secret key cannot be had: the variable was not set when Caisson was started', hint: /from of secrets\.key/ });
});

test('LEASE_NOT_FOUND: a secret that was revoked already', async () => {
  using vault = openVault({ key: rule('env:API_KEY') });
  await leaseOne(vault, 'key');
  vault.revoke({ sandbox: SANDBOX, secret: 'key' });
  assert.throws(() => vault.revoke({ sandbox: SANDBOX, secret: 'key' }), (error) => {
    assert.deepEqual([problemOf(error).code, problemOf(error).message], ['LEASE_NOT_FOUND', `sandbox ${SANDBOX} has no lease of secret key`]);
    return true;
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Lease, termsOf, type InjectedRule } from '@caisson/contract';
import type { Vault } from '@caisson/vault';
import { CANARY, files, GROUND, HOST, leaseOne, OTHER, openVault, OTHER_TERMS, rule, SANDBOX, sent, type Clock } from './given.ts';

const valueOf = (vault: Vault, lease: Lease, { sandbox = SANDBOX, host = HOST } = {}): string => vault.value({ sandbox, lease: lease.id, host, terms: termsOf(lease) });
const NO_LEASE = { code: 'LEASE_NOT_FOUND' };

test('a lease tells where a secret may go and what stands for it, and its value goes to the gate', async () => {
  const more: Partial<InjectedRule> = { at: 'header:X-Key', methods: ['GET'], paths: ['/v1/**'], env: 'THE_KEY', prefix: 'ghp_' };
  using vault = openVault({ plain: rule('env:API_KEY'), 'full-one': rule('env:API_KEY', more), 'my-key_2': rule('env:API_KEY') });
  const [plain, full, named] = sent(await vault.lease({ sandbox: SANDBOX, secrets: ['plain', 'full-one', 'my-key_2'], expiresMs: null }));
  assert.ok(plain !== undefined && full !== undefined && named !== undefined);
  for (const lease of [plain, full, named]) assert.deepEqual(Lease.parse(lease), lease);
  assert.match(plain.placeholder, /^caisson-[A-Za-z0-9]{40}$/);
  assert.match(full.placeholder, /^ghp_[A-Za-z0-9]{40}$/);
  assert.deepEqual([plain.env, full.env, named.env], ['PLAIN', 'THE_KEY', 'MY_KEY_2']);
  assert.deepEqual([plain.at, full.at, full.methods, full.paths, plain.hosts], ['bearer', 'header:X-Key', ['GET'], ['/v1/**'], [HOST]]);
  assert.deepEqual([plain.digest === full.digest, plain.id === full.id, /^[0-9a-f]{64}$/.test(plain.digest)], [true, false, true]);
  assert.equal(valueOf(vault, plain), CANARY);
  assert.deepEqual(vault.list().map(({ uses }) => uses), [1, 0, 0]);
  assert.ok(!JSON.stringify([plain, full, vault.list()]).includes('cnry'));
});

test('no two of ten thousand placeholders or ids are the same, and every character is about as frequent', async () => {
  using vault = openVault({ one: rule('env:API_KEY') });
  const leases = await Promise.all(Array.from({ length: 10_000 }, (_, index) => leaseOne(vault, 'one', { sandbox: `sbx-${index.toString(36).padStart(16, '0')}` })));
  assert.equal(new Set(leases.map(({ placeholder }) => placeholder)).size, 10_000);
  assert.equal(new Set(leases.map(({ id }) => id)).size, 10_000);
  const counts = new Map<string, number>();
  for (const { placeholder } of leases) for (const character of placeholder.slice(8)) counts.set(character, (counts.get(character) ?? 0) + 1);
  assert.equal(counts.size, 62);
  for (const count of counts.values()) assert.ok(Math.abs(count - 400_000 / 62) < 500, `${count} of 400 000`);
});

test('all or nothing: when one secret cannot be had none is leased, and nothing is kept', async () => {
  using given = files();
  using vault = openVault({ good: rule('env:API_KEY'), bad: rule(`file:/${given.dir.slice(1)}/none`), slow: rule({ exec: [given.program('slow', `sleep 0.2; echo ${CANARY}`)] }) });
  await assert.rejects(vault.lease({ sandbox: SANDBOX, secrets: ['good', 'bad', 'slow'], expiresMs: null }), { code: 'SECRET_UNAVAILABLE', message: /secret bad cannot be had: the file cannot be opened \(ENOENT\)/ });
  assert.deepEqual(vault.list(), []);
  await assert.rejects(vault.lease({ sandbox: SANDBOX, secrets: ['good', 'none'], expiresMs: null }), { code: 'SECRET_UNKNOWN' });
  assert.deepEqual(vault.list(), []);
  const had = await leaseOne(vault, 'good');
  await assert.rejects(vault.lease({ sandbox: SANDBOX, secrets: ['good', 'bad'], expiresMs: null }), { code: 'SECRET_UNAVAILABLE' });
  assert.deepEqual(vault.list().map(({ lease }) => lease), [had], 'what was leased before stays');
});

test('names that every object has are no secrets', async () => {
  using vault = openVault({ one: rule('env:API_KEY') });
  for (const name of ['constructor', '__proto__', 'toString', '']) await assert.rejects(leaseOne(vault, name), { code: 'SECRET_UNKNOWN' });
  await assert.rejects(vault.rotate('constructor'), { code: 'SECRET_UNKNOWN' });
});

test('asked again for the same sandbox it is the same lease, also when both ask at once; another sandbox has its own', async () => {
  using vault = openVault({ one: rule('env:API_KEY'), two: rule('env:API_KEY') });
  const [first, second] = await Promise.all([leaseOne(vault, 'one'), leaseOne(vault, 'one')]);
  assert.deepEqual(first, second);
  const both = await vault.lease({ sandbox: SANDBOX, secrets: ['two', 'one'], expiresMs: 5_000_000 });
  assert.deepEqual(both[1], first);
  const other = await leaseOne(vault, 'one', { sandbox: OTHER });
  assert.notEqual(other.placeholder, first.placeholder);
  assert.deepEqual(vault.list(OTHER).map(({ lease }) => lease), [other]);
});

test('a value is for the sandbox and the hosts of its lease and for nobody else', async () => {
  using vault = openVault({ one: rule('env:API_KEY', { hosts: [HOST, 'b.example.com'] }) });
  const lease = await leaseOne(vault, 'one');
  await leaseOne(vault, 'one', { sandbox: OTHER });
  assert.equal(valueOf(vault, lease, { host: 'b.example.com' }), CANARY);
  assert.throws(() => valueOf(vault, lease, { sandbox: OTHER }), NO_LEASE);
  assert.throws(() => valueOf(vault, lease, { host: 'evil.example.com' }), { ...NO_LEASE, message: /no lease of secret one for evil\.example\.com/ });
  assert.throws(() => valueOf(vault, { ...lease, id: 'lea-0000000000000000' }), NO_LEASE);
  assert.deepEqual(vault.list(SANDBOX).map(({ uses }) => uses), [1], 'what is refused is no use');
});

test('a value is given for the form that the rule says, and for no other', async () => {
  const terms = { at: 'sigv4', methods: ['GET', 'PUT'], paths: ['/a/**', '/b'], aws: { regions: ['eu-west-1', 'us-east-1'], services: ['s3'] } } as const;
  const printed = JSON.stringify({ Version: 1, AccessKeyId: 'AKIDREAL', SecretAccessKey: `${CANARY}-of-aws` });
  using vault = openVault({ aws: rule({ exec: ['/bin/echo', printed] }, terms), plain: rule('env:API_KEY') });
  const [aws, plain] = [await leaseOne(vault, 'aws'), await leaseOne(vault, 'plain')];
  const alike: Lease = { ...aws, methods: ['PUT', 'GET', 'GET'], paths: ['/b', '/a/**'], aws: { services: ['s3'], regions: ['us-east-1', 'eu-west-1'] } };
  for (const lease of [aws, alike]) assert.match(valueOf(vault, lease), new RegExp(CANARY));
  assert.equal(valueOf(vault, plain), CANARY);
  const { methods: _methods, ...anyMethod } = aws;
  const { paths: _paths, ...anyPath } = aws;
  const { aws: _aws, ...anyScope } = aws;
  const others: readonly Lease[] = [
    ...OTHER_TERMS.map((other) => ({ ...aws, ...other })), anyMethod, anyPath, anyScope,
    { ...aws, aws: { regions: ['eu-west-1', 'us-east-1'] } }, { ...aws, aws: { ...terms.aws, services: ['s3', 'iam'] } }, { ...aws, aws: {} }, { ...aws, paths: ['/a/**,/b'] },
    { ...plain, at: 'header:X-Key' }, { ...plain, at: 'query:key' }, { ...plain, methods: ['GET'] }, { ...plain, paths: ['/**'] },
  ];
  for (const lease of others) assert.throws(() => valueOf(vault, lease), { ...NO_LEASE, message: /no lease of secret (?:aws|plain) on these terms/ }, JSON.stringify(lease));
  assert.deepEqual(vault.list().map(({ uses }) => uses), [2, 1], 'what is refused is no use');
});

test('a vault that is started anew by a narrower policy gives no value on the terms of the wider one', async () => {
  using before = openVault({ one: rule('env:API_KEY') });
  const wide = await leaseOne(before, 'one');
  using vault = openVault({ one: rule('env:API_KEY', { methods: ['GET'] }) });
  const [narrow] = sent((await vault.restore({ sandbox: SANDBOX, leases: [wide] })).leases);
  assert.ok(narrow !== undefined);
  assert.equal(valueOf(vault, narrow), CANARY, 'control');
  assert.throws(() => valueOf(vault, wide), NO_LEASE);
});

test('a lease is over when its time or its sandbox is, and nothing of it is left', async () => {
  const clock: Clock = { ms: 1_000_000 };
  using vault = openVault({ short: rule('env:API_KEY', { ttlMs: 10_000 }), long: rule('env:API_KEY') }, { clock });
  const [short, long] = sent(await vault.lease({ sandbox: SANDBOX, secrets: ['short', 'long'], expiresMs: 1_060_000 }));
  assert.ok(short !== undefined && long !== undefined);
  assert.deepEqual([short.expiresMs, long.expiresMs], [1_010_000, 1_060_000]);
  assert.equal((await leaseOne(vault, 'short', { sandbox: OTHER, expiresMs: 1_005_000 })).expiresMs, 1_005_000);
  clock.ms = 1_009_999;
  assert.equal(valueOf(vault, short), CANARY);
  clock.ms = 1_010_000;
  assert.throws(() => valueOf(vault, short), NO_LEASE);
  assert.deepEqual(vault.list().map(({ lease }) => lease.secret), ['long']);
  assert.notEqual((await leaseOne(vault, 'short', { expiresMs: 1_060_000 })).placeholder, short.placeholder, 'asked again it is another');
  clock.ms = 1_060_000;
  assert.deepEqual(vault.list(), []);
  assert.equal((await leaseOne(vault, 'long')).expiresMs, null);
});

test('what is revoked or released is gone at once, and the rest is not', async () => {
  using vault = openVault({ one: rule('env:API_KEY'), two: rule('env:API_KEY') });
  const [one, two] = sent(await vault.lease({ sandbox: SANDBOX, secrets: ['one', 'two'], expiresMs: null }));
  assert.ok(one !== undefined && two !== undefined);
  vault.revoke({ sandbox: SANDBOX, secret: 'one' });
  assert.throws(() => valueOf(vault, one), NO_LEASE);
  assert.equal(valueOf(vault, two), CANARY);
  assert.throws(() => vault.revoke({ sandbox: SANDBOX, secret: 'one' }), NO_LEASE);
  assert.throws(() => vault.revoke({ sandbox: OTHER, secret: 'one' }), NO_LEASE);
  vault.release(SANDBOX);
  vault.release(SANDBOX);
  assert.throws(() => valueOf(vault, two), NO_LEASE);
  assert.deepEqual(vault.list(), []);
});

test('what is released or revoked while it is looked up never comes to be', async () => {
  using given = files();
  using vault = openVault({ slow: rule({ exec: [given.program('slow', `sleep 0.1; echo ${CANARY}`)] }) });
  const leasing = leaseOne(vault, 'slow');
  vault.release(SANDBOX);
  await assert.rejects(leasing, NO_LEASE);
  const again = leaseOne(vault, 'slow');
  assert.throws(() => vault.revoke({ sandbox: SANDBOX, secret: 'slow' }), NO_LEASE);
  await assert.rejects(again, NO_LEASE);
  assert.deepEqual(vault.list(), []);
  const lease = await leaseOne(vault, 'slow');
  vault.release(SANDBOX);
  const restoring = vault.restore({ sandbox: SANDBOX, leases: [lease] });
  assert.throws(() => vault.revoke({ sandbox: SANDBOX, secret: 'slow' }), NO_LEASE);
  assert.deepEqual((await restoring).refused.map(({ problem }) => problem.code), ['LEASE_NOT_FOUND']);
  assert.deepEqual(vault.list(), []);
});

test('rotation gives every lease the new value under the placeholder that it has, and when it fails the old one stays', async () => {
  using given = files();
  using vault = openVault({ one: rule(`file:/${given.file('secret', 'old-value').slice(1)}`) });
  const leases = [await leaseOne(vault, 'one'), await leaseOne(vault, 'one', { sandbox: OTHER })] as const;
  given.file('secret', 'new-value');
  const rotated = await vault.rotate('one');
  assert.deepEqual(sent(rotated.map(({ lease }) => lease)).map(({ placeholder }) => placeholder), leases.map(({ placeholder }) => placeholder));
  assert.notEqual(rotated[0]?.lease.digest, leases[0].digest);
  assert.deepEqual([valueOf(vault, leases[0]), valueOf(vault, leases[1], { sandbox: OTHER })], ['new-value', 'new-value']);
  given.file('secret', '');
  await assert.rejects(vault.rotate('one'), { code: 'SECRET_UNAVAILABLE', message: /secret one cannot be had: it is empty/ });
  assert.equal(valueOf(vault, leases[0]), 'new-value');
});

test('a value that was looked up before a rotation does not come back after it', async () => {
  using given = files();
  given.file('secret', 'old-value');
  // Reads first and answers late, but only the first time.
  const program = given.program('late', `v=$(cat ${given.dir}/secret); mkdir ${given.dir}/seen 2>/dev/null && sleep 0.3; echo "$v"`);
  using vault = openVault({ one: rule({ exec: [program] }) });
  const leasing = leaseOne(vault, 'one');
  await delay(150);
  given.file('secret', 'new-value');
  await vault.rotate('one');
  assert.equal(valueOf(vault, await leasing), 'new-value');
});

test('a vault that is started anew has the leases that it is told of, by their ids and placeholders', async () => {
  using before = openVault({ one: rule('env:API_KEY'), two: rule('env:API_KEY') });
  const leases = sent(await before.lease({ sandbox: SANDBOX, secrets: ['one', 'two'], expiresMs: 2_000_000 }));
  using vault = openVault({ one: rule('env:API_KEY'), two: rule('env:API_KEY') });
  const [first, second] = await Promise.all([vault.restore({ sandbox: SANDBOX, leases }), vault.restore({ sandbox: SANDBOX, leases })]);
  assert.deepEqual([first.refused, second], [[], first], 'told twice it is no other');
  assert.deepEqual(sent(first.leases).map(({ id, placeholder, expiresMs }) => [id, placeholder, expiresMs]), leases.map(({ id, placeholder, expiresMs }) => [id, placeholder, expiresMs]));
  assert.notEqual(first.leases[0]?.digest, leases[0]?.digest, 'the key of digests is another');
  for (const lease of leases) assert.equal(valueOf(vault, lease), CANARY);
  assert.deepEqual((await vault.lease({ sandbox: SANDBOX, secrets: ['one', 'two'], expiresMs: null })), first.leases);
});

test('who restores a lease cannot widen it: where it goes is the policy\'s, and what is over or unknown stays so', async () => {
  const clock: Clock = { ms: 1_000_000 };
  using before = openVault({ one: rule('env:API_KEY', { ttlMs: 60_000 }), gone: rule('env:API_KEY'), bad: rule('env:API_KEY') }, { clock });
  const [one, gone, bad] = sent(await before.lease({ sandbox: SANDBOX, secrets: ['one', 'gone', 'bad'], expiresMs: null }));
  assert.ok(one !== undefined && gone !== undefined && bad !== undefined);
  using vault = openVault({ one: rule('env:API_KEY', { ttlMs: 60_000 }), bad: rule('env:NONE') }, { clock });
  const wide: Lease = { ...one, hosts: ['evil.example.com'], at: 'header:X-Evil', env: 'EVIL', expiresMs: null };
  const { leases, refused } = await vault.restore({ sandbox: SANDBOX, leases: [wide, gone, bad] });
  assert.deepEqual(sent(leases).map(({ hosts, at, env, expiresMs }) => [hosts, at, env, expiresMs]), [[[HOST], 'bearer', 'ONE', 1_060_000]]);
  assert.throws(() => valueOf(vault, one, { host: 'evil.example.com' }), NO_LEASE);
  assert.deepEqual(refused.map(({ secret, problem }) => [secret, problem.code]), [['gone', 'SECRET_UNKNOWN'], ['bad', 'SECRET_UNAVAILABLE']]);
  const refusals = async (lease: Lease, sandbox = OTHER): Promise<readonly string[]> => (await vault.restore({ sandbox, leases: [lease] })).refused.map(({ problem }) => problem.code);
  assert.deepEqual(await refusals(one), ['LEASE_NOT_FOUND'], 'an id is of one sandbox');
  const another = { ...one, id: 'lea-0000000000000009' };
  assert.deepEqual(await refusals(another, SANDBOX), ['LEASE_NOT_FOUND'], 'a sandbox has one lease of a secret');
  assert.deepEqual(await refusals({ ...another, placeholder: 'the' }), ['LEASE_NOT_FOUND'], 'a word is no placeholder');
  assert.deepEqual(await refusals({ ...another, expiresMs: 999_999 }), ['LEASE_NOT_FOUND'], 'it is over');
});

test('nothing of a value is in what the vault says when anything goes wrong', async () => {
  using given = files();
  const sources = [
    `file:/${given.file('lines', `${CANARY}\n${CANARY}`).slice(1)}`, `file:/${given.file('open', CANARY, 0o666).slice(1)}`, `file:/${given.file('bytes', Buffer.concat([Buffer.from(CANARY), Buffer.from([0xff])])).slice(1)}`,
    'env:LINES', { exec: [given.program('fails', `echo ${CANARY}; echo ${CANARY} >&2; exit 1`)] }, { exec: [given.program('slow', `echo ${CANARY}; sleep 60`)] }, { exec: [given.program('much', `yes ${CANARY}`)] },
    { exec: [given.program('nul', `printf '${CANARY}\\0'`)] }, { vault: { address: 'http://127.0.0.1:1', path: 'p', field: 'f', token: 'env:LINES' } }, { vault: { address: 'http://127.0.0.1:1', path: 'p', field: 'f', token: 'env:API_KEY' } },
  ] as const;
  using vault = openVault(Object.fromEntries(sources.map((source, index) => [`s${index}`, rule(source)])), { ground: { ...GROUND, timeoutMs: 2_000, env: { ...GROUND.env, LINES: `${CANARY}\n${CANARY}` } } });
  for (const index of sources.keys()) {
    for (const ask of [() => leaseOne(vault, `s${index}`), () => vault.rotate(`s${index}`)]) {
      const error = await ask().then(() => assert.fail(`s${index} is there`), (thrown: Error) => thrown);
      const said = [error.message, error.stack, JSON.stringify(error), String(error.cause)].join(' ');
      assert.match(said, /secret s\d+ cannot be had/);
      for (let at = 0; at + 6 <= CANARY.length; at++) assert.ok(!said.includes(CANARY.slice(at, at + 6)), said);
    }
  }
});

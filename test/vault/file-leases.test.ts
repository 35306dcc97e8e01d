import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { FileLease, SecretRule, termsOf } from '@caisson/contract';
import { judgeFile, RemoteFiles, RemoteVault, resolveSource, serveFiles, serveValues, serveVault } from '@caisson/vault';
import { Caller, listenUnix } from '@caisson/wire';
import { CANARY, fileRule, filed, files, GROUND, HOST, OTHER, openVault, rule, SANDBOX, sent, type Clock } from './given.ts';

const NO_LEASE = { code: 'LEASE_NOT_FOUND' };
const contentOf = ({ base64 }: { readonly base64: string }): string => Buffer.from(base64, 'base64').toString('latin1');

test('a rule is for requests or for a file: one with fields of both, or of neither, is refused by the name of the field', () => {
  const whatIsWrong = (more: object): string => {
    const parsed = SecretRule.safeParse({ from: 'env:KEY', ...more });
    return parsed.success ? 'good' : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  };
  for (const good of [{ file: 'db-password' }, { file: 'id_ed25519', env: 'KEY_FILE', ttlMs: 60_000 }, { file: '.pgpass', env: 'PGPASSFILE' }, { file: 'x'.repeat(64) }, { hosts: [HOST], at: 'basic' }]) assert.equal(whatIsWrong(good), 'good', JSON.stringify(good));
  for (const [field, more] of [['hosts', { file: 'key', hosts: [HOST] }], ['at', { file: 'key', at: 'bearer' }], ['methods', { file: 'key', methods: ['GET'] }], ['paths', { file: 'key', paths: ['/a'] }], ['prefix', { file: 'key', prefix: 'a' }], ['aws', { file: 'key', aws: {} }], ['hosts', {}]] as const) {
    assert.match(whatIsWrong(more), new RegExp(`^${field}: a secret is put into requests to hosts, or is a file`), JSON.stringify(more));
  }
  for (const name of ['', '.', '..', 'a/b', '/etc/passwd', '../up', 'a\u0000', 'a\n', 'ü', 'a b', 'x'.repeat(65)]) assert.match(whatIsWrong({ file: name }), /^file: must/, JSON.stringify(name));
});

test('what a file is to hold may be any bytes up to 64 KiB, and is taken as it is', async () => {
  using given = files();
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const cases: readonly (readonly [string, Buffer])[] = [['key', Buffer.from('-----BEGIN KEY-----\nabc\n-----END KEY-----\n')], ['bytes', bytes], ['lines', Buffer.from('a\r\n\r\n')], ['long', Buffer.alloc(64 * 1024, 'x')]];
  for (const [name, content] of cases) {
    const found = await resolveSource(`file:/${given.file(name, content).slice(1)}`, GROUND, judgeFile);
    assert.deepEqual('value' in found ? found.value : found.why, content, name);
  }
  const printed = await resolveSource({ exec: [given.program('print', 'printf "a\\n\\001\\n"')] }, GROUND, judgeFile);
  assert.deepEqual('value' in printed ? printed.value : printed.why, Buffer.from('a\n\u0001\n'));
  for (const [content, why] of [['', 'it is empty'], ['x'.repeat(64 * 1024 + 1), 'it is longer than 65536 bytes']] as const) assert.deepEqual(await resolveSource(`file:/${given.file('bad', content).slice(1)}`, GROUND, judgeFile), { why });
  assert.deepEqual(await resolveSource(`file:/${given.file('two-lines', 'a\nb\n').slice(1)}`, GROUND), { why: 'it holds a line break or another control character' }, 'control: for a request it would not do');
});

test('the launcher gets the value of a file for its sandbox, its lease and its name, and the value of nothing else', async () => {
  using vault = openVault({ key: fileRule('env:API_KEY', { file: 'id_ed25519', env: 'KEY_FILE' }), api: rule('env:API_KEY') });
  const [lease] = filed(await vault.lease({ sandbox: SANDBOX, secrets: ['key'], expiresMs: 2_000_000 }));
  const [request] = sent(await vault.lease({ sandbox: SANDBOX, secrets: ['api'], expiresMs: null }));
  assert.ok(lease !== undefined && request !== undefined);
  assert.deepEqual(FileLease.parse(lease), lease);
  assert.deepEqual({ ...lease, id: '', digest: '' }, { id: '', secret: 'key', file: 'id_ed25519', env: 'KEY_FILE', expiresMs: 2_000_000, digest: '' });
  const asked = { sandbox: SANDBOX, lease: lease.id, name: 'id_ed25519' };
  const given = vault.file(asked);
  assert.deepEqual([contentOf(given), given.expiresMs], [CANARY, 2_000_000]);
  for (const wrong of [{ sandbox: OTHER }, { lease: request.id }, { lease: 'lea-0000000000000000' }, { name: 'id_rsa' }]) assert.throws(() => vault.file({ ...asked, ...wrong }), NO_LEASE, JSON.stringify(wrong));
  for (const host of [HOST, 'id_ed25519']) assert.throws(() => vault.value({ sandbox: SANDBOX, lease: lease.id, host, terms: termsOf(request) }), NO_LEASE, 'the gate gets no file');
  assert.equal(vault.value({ sandbox: SANDBOX, lease: request.id, host: HOST, terms: termsOf(request) }), CANARY, 'control: its own value it gets');
  assert.deepEqual(vault.list(SANDBOX).map(({ lease: { secret }, uses, lastMs }) => [secret, uses, lastMs]), [['key', 1, 1_000_000], ['api', 1, 1_000_000]]);
});

test('a lease of a file ends with its time, by revocation and with its sandbox, and is rotated', async () => {
  using given = files();
  const clock: Clock = { ms: 1_000_000 };
  const path = given.file('key', 'first\n');
  using vault = openVault({ key: fileRule(`file:/${path.slice(1)}`), brief: fileRule('env:API_KEY', { file: 'brief', ttlMs: 5_000 }) }, { clock });
  const [key, brief] = filed(await vault.lease({ sandbox: SANDBOX, secrets: ['key', 'brief'], expiresMs: null }));
  assert.ok(key !== undefined && brief !== undefined);
  const read = ({ id, file }: FileLease): string => contentOf(vault.file({ sandbox: SANDBOX, lease: id, name: file }));
  assert.deepEqual([read(key), read(brief)], ['first\n', CANARY]);
  given.file('key', 'second\n');
  await vault.rotate('key');
  assert.equal(read(key), 'second\n');
  clock.ms += 5_000;
  assert.throws(() => read(brief), NO_LEASE);
  vault.revoke({ sandbox: SANDBOX, secret: 'key' });
  assert.throws(() => read(key), NO_LEASE);
  const [again] = filed(await vault.lease({ sandbox: SANDBOX, secrets: ['key'], expiresMs: null }));
  assert.ok(again !== undefined && again.id !== key.id);
  vault.release(SANDBOX);
  assert.throws(() => read(again), NO_LEASE);
});

test('who restores a lease of a file cannot make it one for requests, another file, or one that lasts longer', async () => {
  const clock: Clock = { ms: 1_000_000 };
  using before = openVault({ key: fileRule('env:API_KEY', { ttlMs: 60_000 }), api: rule('env:API_KEY') }, { clock });
  const [key] = filed(await before.lease({ sandbox: SANDBOX, secrets: ['key'], expiresMs: null }));
  const [api] = sent(await before.lease({ sandbox: SANDBOX, secrets: ['api'], expiresMs: null }));
  assert.ok(key !== undefined && api !== undefined);
  using after = openVault({ key: fileRule('env:API_KEY', { ttlMs: 60_000 }), api: rule('env:API_KEY') }, { clock });
  const { leases, refused } = await after.restore({ sandbox: SANDBOX, leases: [{ ...key, file: 'other', env: 'LD_PRELOAD', expiresMs: null }, { id: api.id, secret: 'api', file: 'api', expiresMs: null, digest: '' }] });
  assert.deepEqual(filed(leases).map(({ id, file, env, expiresMs }) => [id, file, env, expiresMs]), [[key.id, 'secret', undefined, 1_060_000]]);
  assert.deepEqual(refused.map(({ secret, problem: { code } }) => [secret, code]), [['api', 'LEASE_NOT_FOUND']]);
  assert.equal(contentOf(after.file({ sandbox: SANDBOX, lease: key.id, name: 'secret' })), CANARY);
  const crossed = await after.restore({ sandbox: OTHER, leases: [{ ...api, id: 'lea-000000000000000x', secret: 'key' }] });
  assert.deepEqual(crossed.refused.map(({ problem: { code } }) => code), ['LEASE_NOT_FOUND']);
});

test('of the three doors of the vault each knows its own verbs alone', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-doors-`);
  using vault = openVault({ key: fileRule('env:API_KEY') });
  await using control = await listenUnix(`${dir}/control`, {}, (socket) => serveVault(socket, vault));
  await using gate = await listenUnix(`${dir}/gate`, {}, (socket) => serveValues(socket, vault));
  await using launcher = await listenUnix(`${dir}/launcher`, {}, (socket) => serveFiles(socket, vault));
  assert.ok([control, gate, launcher].every(({ connections }) => connections.size === 0));
  using remote = new RemoteVault(`${dir}/control`);
  using reader = new RemoteFiles(`${dir}/launcher`);
  const [lease] = filed(await remote.lease({ sandbox: SANDBOX, secrets: ['key'], expiresMs: null }));
  const asked = { sandbox: SANDBOX, lease: lease?.id ?? '', name: 'secret' };
  assert.equal((await reader.file(asked)).bytes.toString(), CANARY);
  for (const [door, verbs] of [['control', ['file', 'value']], ['gate', ['file', 'lease', 'restore', 'list', 'revoke']], ['launcher', ['value', 'lease', 'restore', 'release', 'revoke', 'rotate', 'list', 'hold']]] as const) {
    using caller = new Caller(`${dir}/${door}`);
    for (const verb of verbs) await assert.rejects(caller.call(verb, asked), { code: 'FRAME_INVALID', message: new RegExp(`no verb ${verb}`) }, `${verb} at ${door}`);
  }
  using caller = new Caller(`${dir}/launcher`);
  for (const wrong of [{ ...asked, name: '../key' }, { ...asked, sandbox: 'x' }, { ...asked, host: HOST }, null]) await assert.rejects(caller.call('file', wrong), { code: 'FRAME_INVALID' });
  rmSync(dir, { recursive: true, force: true });
});

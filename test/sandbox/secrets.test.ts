import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CaissonError, type Policy } from '@caisson/contract';
import type { ProcessSpec } from '@caisson/runtime';
import { ASKING, stage } from './stay-given.ts';

const SECRETS: NonNullable<Policy['secrets']> = {
  api: { from: 'env:API', hosts: ['api.example.test'] },
  key: { from: 'env:KEY', hosts: ['key.example.test'] },
};

test('who asks for a secret gets a link, the rules for its hosts, a lease, and an authority that the gate is trusted by there', async () => {
  const commands: ProcessSpec[] = [];
  await using on = await stage((command) => (commands.push(command), { hang: true }), { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  assert.deepEqual([box.secrets, box.network], [['api'], { rules: [] }]);
  const admitted = on.gate.admitted.get(box.id);
  assert.deepEqual(admitted?.network.rules, [{ name: 'secret api', host: 'api.example.test', port: 443, protocol: 'https' }]);
  assert.deepEqual(admitted.leases.map(({ secret }) => secret), ['api']);
  assert.deepEqual(admitted.authority?.names, ['api.example.test']);
  await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
  const env = commands.at(-1)?.env ?? [];
  assert.ok(env.includes(`API=caisson-${box.id}-api`), env.join('\n'));
  assert.ok(env.some((item) => item.startsWith('SSL_CERT_FILE=')), env.join('\n'));
  assert.match(JSON.stringify(on.log.entries[0]?.body), /"secrets":\["api"\]/);
});

test('a sandbox that was prepared before anybody asked has no secret, and is not taken for one that asks', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS, warm: 1 });
  while (on.pool.ready < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  const box = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  assert.deepEqual([box.warm, box.secrets], [false, ['api']]);
  assert.equal((await on.sandboxes.create({}, ASKING)).warm, true, 'control: it was there to be taken');
});

test('a secret that cannot be had starts nothing, leaves nothing, and is on record as the reason', async () => {
  await using on = await stage({}, { secrets: SECRETS });
  on.vault.fails = true;
  await assert.rejects(on.sandboxes.create({ secrets: ['api'] }, ASKING), { code: 'SECRET_UNAVAILABLE' });
  assert.deepEqual([[...on.driver.live], [...on.workspaces.there], [...on.gate.admitted]], [[], [], []]);
  assert.deepEqual(on.log.entries.map(({ kind }) => kind), ['intent', 'outcome']);
  assert.match(JSON.stringify(on.log.entries[1]?.body), /SECRET_UNAVAILABLE/);
});

test('what was leased before the authority could not be made is given back', async () => {
  await using on = await stage({}, { secrets: SECRETS });
  on.gate.certify = () => Promise.reject(new CaissonError('NETWORK_UNAVAILABLE', { what: 'no authority', how: 'none' }));
  await assert.rejects(on.sandboxes.create({ secrets: ['api'] }, ASKING), { code: 'NETWORK_UNAVAILABLE' });
  assert.deepEqual([on.vault.asked, [...on.vault.leased]], [['lease api', 'release'], []]);
});

test('two revocations of which one fails each take and keep their own secret', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api', 'key'] }, ASKING);
  let first = true;
  on.gate.onAdmit = async () => {
    if (!first) return;
    first = false;
    await new Promise((resolve) => setTimeout(resolve, 30));
    throw new CaissonError('NETWORK_UNAVAILABLE', { what: 'the gate does not answer', how: 'wait' });
  };
  const [failed, done] = await Promise.allSettled(['api', 'key'].map((secret) => on.sandboxes.revokeSecret(box.id, secret, ASKING)));
  assert.deepEqual([failed?.status, done?.status, on.sandboxes.get(box.id).secrets], ['rejected', 'fulfilled', ['api']]);
});

test('a secret that is none of the policy is refused before anything is leased', async () => {
  await using on = await stage({}, { secrets: SECRETS });
  for (const secret of ['other', 'constructor', 'toString']) await assert.rejects(on.sandboxes.create({ secrets: ['api', secret] }, ASKING), { code: 'SECRET_UNKNOWN' });
  assert.deepEqual(on.vault.asked, []);
});

test('hosts of a secret are held to what the policy says of the network', async () => {
  await using on = await stage({}, { secrets: SECRETS, network: { allow: [{ host: 'other.test' }] } });
  await assert.rejects(on.sandboxes.create({ secrets: ['api'] }, ASKING), { code: 'EGRESS_EXCEEDS_POLICY' });
});

test('what is leased ends with its sandbox, however that ends', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const closed = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  await on.sandboxes.close(closed.id, ASKING);
  const lost = await on.sandboxes.create({ secrets: ['key'] }, ASKING);
  await on.keeper.get(lost.id).close();
  while (on.vault.leased.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(on.vault.asked, ['lease api', 'release', 'lease key', 'release']);
  assert.deepEqual(on.sandboxes.get(closed.id).secrets, []);
});

test('the next control knows leases and authority again, and admits with the same', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  const before = on.gate.admitted.get(box.id);
  on.gate.admitted.clear();
  const second = await on.restarted();
  assert.deepEqual(on.gate.admitted.get(box.id), before);
  assert.deepEqual(second.get(box.id).secrets, ['api']);
});

test('a fork has the secrets that its original has by now, leased anew', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api', 'key'] }, ASKING);
  await on.sandboxes.revokeSecret(box.id, 'key', ASKING);
  const fork = await on.sandboxes.fork(box.id, { memory: false }, ASKING);
  assert.deepEqual(fork.secrets, ['api']);
  const [mine, theirs] = [box.id, fork.id].map((id) => on.gate.admitted.get(id)?.leases.find(({ secret }) => secret === 'api')?.placeholder);
  assert.ok(mine !== undefined && theirs !== undefined && mine !== theirs);
});

test('a secret that is revoked is on record first, then out of the vault, then out of the gate, and its hosts with it', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api', 'key'] }, ASKING);
  const info = await on.sandboxes.revokeSecret(box.id, 'key', ASKING);
  assert.deepEqual(info.secrets, ['api']);
  assert.deepEqual(on.gate.admitted.get(box.id)?.network.rules.map(({ host }) => host), ['api.example.test']);
  assert.deepEqual(on.vault.asked.at(-1), 'revoke key');
  assert.deepEqual(on.log.entries.at(-1)?.body, { event: 'secret-revoked', caller: ASKING.caller, secret: 'key' });
  await assert.rejects(on.sandboxes.revokeSecret(box.id, 'key', ASKING), { code: 'LEASE_NOT_FOUND' });
});

test('a revocation that the gate could not be told of can be asked for again', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  on.gate.onAdmit = () => Promise.reject(new CaissonError('NETWORK_UNAVAILABLE', { what: 'the gate does not answer', how: 'wait' }));
  await assert.rejects(on.sandboxes.revokeSecret(box.id, 'api', ASKING), { code: 'NETWORK_UNAVAILABLE' });
  assert.equal(on.vault.asked.at(-1), 'revoke api');
  on.gate.onAdmit = async () => undefined;
  assert.deepEqual((await on.sandboxes.revokeSecret(box.id, 'api', ASKING)).secrets, []);
  assert.deepEqual(on.gate.admitted.get(box.id)?.leases, []);
});

test('a secret that is rotated is handed to the gate for every sandbox that has it', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const having = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  await on.sandboxes.create({ secrets: ['key'] }, ASKING);
  on.gate.asked.length = 0;
  assert.deepEqual(await on.sandboxes.rotateSecret('api', ASKING), [having.id]);
  assert.deepEqual([on.gate.asked, on.vault.asked.at(-1)], [['admit api.example.test'], 'rotate api']);
});

test('EGRESS_UNCERTIFIED: rules that would have more hosts read than the sandbox trusts the gate for change nothing', async () => {
  await using on = await stage({ hang: true }, { secrets: SECRETS });
  const box = await on.sandboxes.create({ secrets: ['api'] }, ASKING);
  await assert.rejects(on.sandboxes.changeNetwork(box.id, { rules: [{ host: 'more.test', protocol: 'https' }] }, ASKING), { code: 'EGRESS_UNCERTIFIED' });
  await on.sandboxes.changeNetwork(box.id, { rules: [{ host: 'more.test' }, { host: 'x.api.example.test', protocol: 'https' }] }, ASKING);
  assert.deepEqual(on.gate.admitted.get(box.id)?.network.rules.map(({ host }) => host), ['more.test', 'x.api.example.test', 'api.example.test']);
});

const FILES: NonNullable<Policy['secrets']> = { ...SECRETS, pem: { from: 'env:PEM', file: 'pem', env: 'PEM_FILE' } };

test('who asks for a secret that is a file gets no network by that, is not given a prepared sandbox, and finds the path in the environment', async () => {
  const commands: ProcessSpec[] = [];
  await using on = await stage((command) => (commands.push(command), { hang: true }), { secrets: FILES, warm: 1 });
  on.vault.files.add('pem');
  while (on.pool.ready < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  const box = await on.sandboxes.create({ secrets: ['pem'] }, ASKING);
  assert.deepEqual([box.secrets, box.network, box.warm, on.gate.admitted.size], [['pem'], null, false, 0]);
  assert.equal((await on.sandboxes.create({}, ASKING)).warm, true, 'control: who asks for none is');
  await on.sandboxes.exec(box.id, { argv: ['true'] }, ASKING);
  const env = commands.at(-1)?.env ?? [];
  assert.ok(env.includes('PEM_FILE=/run/secrets/pem'), env.join('\n'));
  assert.ok(!env.some((item) => item.startsWith('PEM=') || item.startsWith('SSL_CERT_FILE=')), env.join('\n'));
  assert.deepEqual((await on.sandboxes.secrets(box.id)).map(({ secret, file, uses, lastMs }) => [secret, file, uses, lastMs]), [['pem', '/run/secrets/pem', 1, 5]]);
});

test('with both kinds the gate is told of the one, and a revocation of a file leaves the rest as it is', async () => {
  await using on = await stage({ hang: true }, { secrets: FILES });
  on.vault.files.add('pem');
  const box = await on.sandboxes.create({ secrets: ['pem', 'api'] }, ASKING);
  assert.deepEqual(on.gate.admitted.get(box.id)?.leases.map(({ secret }) => secret), ['api']);
  const admissions = on.gate.asked.length;
  assert.deepEqual((await on.sandboxes.revokeSecret(box.id, 'pem', ASKING)).secrets, ['api']);
  assert.ok(on.vault.asked.includes('revoke pem'));
  assert.equal(on.gate.asked.length, admissions, 'the gate has nothing to do with it');
  await assert.rejects(on.sandboxes.revokeSecret(box.id, 'pem', ASKING), { code: 'LEASE_NOT_FOUND' });
  assert.deepEqual((await on.sandboxes.revokeSecret(box.id, 'api', ASKING)).secrets, []);
  await on.sandboxes.close(box.id, ASKING);
});

test('a control that is started anew tells the vault of files that are leased, and still refuses to save memory that has seen one', async () => {
  await using on = await stage({ hang: true }, { secrets: FILES });
  on.vault.files.add('pem');
  const box = await on.sandboxes.create({ secrets: ['pem'] }, ASKING);
  const again = await on.restarted();
  assert.ok(on.vault.asked.includes('adopt pem'), on.vault.asked.join());
  const refusal = { code: 'CHECKPOINT_UNAVAILABLE', message: /had files of secrets/ };
  await assert.rejects(again.snapshot(box.id, { memory: true }, ASKING), refusal);
  assert.deepEqual((await again.revokeSecret(box.id, 'pem', ASKING)).secrets, []);
  await assert.rejects(again.snapshot(box.id, { memory: true }, ASKING), refusal);
  await again.close(box.id, ASKING);
});

test('a file that was revoked is not had by the next control, also when the vault has not answered before this one died', async () => {
  await using on = await stage({ hang: true }, { secrets: FILES });
  on.vault.files.add('pem');
  const box = await on.sandboxes.create({ secrets: ['pem', 'api'] }, ASKING);
  on.vault.revoke = () => new Promise(() => undefined);
  const noted = Promise.withResolvers<void>();
  const kept = on.keeper.get(box.id);
  const note = kept.note.bind(kept);
  kept.note = (memo) => {
    note(memo);
    noted.resolve();
  };
  void on.sandboxes.revokeSecret(box.id, 'pem', ASKING).catch(() => undefined);
  await noted.promise;
  const again = await on.restarted();
  assert.deepEqual(again.get(box.id).secrets, ['api']);
});

test('a secret whose time is over is told of no more, also by the next control, and is not in a fork that says nothing', async () => {
  let aheadMs = 0;
  await using on = await stage({ hang: true }, { secrets: FILES, wallMs: () => Date.now() + aheadMs });
  on.vault.files.add('pem');
  on.vault.ends.set('pem', Date.now() + 600_000).set('api', Date.now() + 300_000).set('key', null);
  const box = await on.sandboxes.create({ secrets: ['pem', 'api', 'key'] }, ASKING);
  const forkOf = async (): Promise<readonly string[]> => (await on.sandboxes.fork(box.id, { memory: false }, ASKING)).secrets;
  assert.deepEqual([on.sandboxes.get(box.id).secrets, await forkOf()], [['api', 'key', 'pem'], ['api', 'key', 'pem']], 'control: they are there before');
  aheadMs = 300_001;
  assert.deepEqual([on.sandboxes.get(box.id).secrets, await forkOf()], [['key', 'pem'], ['key', 'pem']]);
  aheadMs = 600_001;
  assert.deepEqual([on.sandboxes.get(box.id).secrets, await forkOf()], [['key'], ['key']]);
  assert.equal(on.vault.asked.at(-1), 'lease key');
  on.vault.ends.delete('pem');
  assert.deepEqual((await on.sandboxes.fork(box.id, { memory: false, secrets: ['pem'] }, ASKING)).secrets, ['pem'], 'what a fork asks for by name it has');
  assert.deepEqual((await on.restarted()).get(box.id).secrets, ['key']);
});

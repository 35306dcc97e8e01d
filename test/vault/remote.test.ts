import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { termsOf, type Lease, type SecretRule } from '@caisson/contract';
import { RemoteValues, RemoteVault, serveValues, serveVault, type Vault } from '@caisson/vault';
import { Caller, listenUnix } from '@caisson/wire';
import { CANARY, files, HOST, leaseOne, openVault, OTHER_TERMS, rule, SANDBOX, sent, type Files } from './given.ts';

interface Place extends AsyncDisposable {
  readonly given: Files;
  readonly control: RemoteVault;
  readonly gate: RemoteValues;
  readonly sockets: { readonly control: string; readonly gate: string };
  /** A vault that listens from now on. Disposing of it is its death. */
  start(rules: Readonly<Record<string, SecretRule>>): Promise<AsyncDisposable & { readonly vault: Vault }>;
}

function place(): Place {
  const given = files();
  const sockets = { control: `${given.dir}/vault.sock`, gate: `${given.dir}/gate.sock` };
  const [control, gate] = [new RemoteVault(sockets.control), new RemoteValues(sockets.gate)];
  return {
    given,
    control,
    gate,
    sockets,
    async start(rules) {
      const vault = openVault(rules);
      const forControl = await listenUnix(sockets.control, {}, (socket) => serveVault(socket, vault));
      const forGate = await listenUnix(sockets.gate, {}, (socket) => serveValues(socket, vault));
      return {
        vault,
        async [Symbol.asyncDispose]() {
          await forControl[Symbol.asyncDispose]();
          await forGate[Symbol.asyncDispose]();
          vault[Symbol.dispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      control[Symbol.dispose]();
      gate[Symbol.dispose]();
      given[Symbol.dispose]();
    },
  };
}

const KEY = { key: rule('env:API_KEY') };

test('control leases, and the gate has the value', async () => {
  await using on = place();
  await using vault = await on.start(KEY);
  assert.ok(vault);
  const lease = await leaseOne(on.control, 'key');
  assert.equal(await on.gate.value({ sandbox: SANDBOX, lease, host: HOST }), CANARY);
  assert.deepEqual(await on.control.list(SANDBOX), [{ sandbox: SANDBOX, lease, uses: 1, lastMs: 1_000_000 }]);
  assert.equal((await on.control.rotate('key')).length, 1);
  await on.control.revoke({ sandbox: SANDBOX, secret: 'key' });
  await assert.rejects(on.gate.value({ sandbox: SANDBOX, lease, host: HOST }), { code: 'LEASE_NOT_FOUND' });
  await assert.rejects(on.control.revoke({ sandbox: SANDBOX, secret: 'key' }), { code: 'LEASE_NOT_FOUND' });
  await leaseOne(on.control, 'key');
  await on.control.release(SANDBOX);
  assert.deepEqual(await on.control.list(), []);
});

test('control gets no value, and the gate nothing but values', async () => {
  await using on = place();
  await using vault = await on.start(KEY);
  assert.ok(vault);
  const { id } = await leaseOne(on.control, 'key');
  using control = new Caller(on.sockets.control);
  using gate = new Caller(on.sockets.gate);
  await assert.rejects(control.call('value', { sandbox: SANDBOX, lease: id, host: HOST, terms: { at: 'bearer' } }), { code: 'FRAME_INVALID', message: /no verb value/ });
  for (const verb of ['lease', 'restore', 'release', 'revoke', 'rotate', 'list', 'hold', 'toString', '__proto__']) {
    await assert.rejects(gate.call(verb, { sandbox: SANDBOX }), { code: 'FRAME_INVALID' }, verb);
  }
  const malformed: readonly (readonly [verb: string, parameters: unknown])[] = [
    ['lease', { sandbox: SANDBOX, secrets: ['key'] }], ['lease', { sandbox: '../x', secrets: ['key'], expiresMs: null }], ['lease', { sandbox: SANDBOX, secrets: ['key', 'key'], expiresMs: null }],
    ['lease', { sandbox: SANDBOX, secrets: ['key'], expiresMs: null, from: 'env:HOME' }], ['restore', { sandbox: SANDBOX, leases: [{ id }] }], ['rotate', { secret: 'KEY' }], ['list', null], ['release', {}],
  ];
  for (const [verb, parameters] of malformed) await assert.rejects(control.call(verb, parameters), { code: 'FRAME_INVALID' }, verb);
  assert.equal(await gate.call('value', { sandbox: SANDBOX, lease: id, host: HOST, terms: { at: 'bearer' } }), CANARY);
});

test('a value is given for the form that the rule says, and for no other, whatever control has told the gate', async () => {
  await using on = place();
  await using vault = await on.start({ key: rule('env:API_KEY', { at: 'header:X-Key', methods: ['PUT', 'GET'], paths: ['/v1/**'] }) });
  assert.ok(vault);
  const lease = await leaseOne(on.control, 'key');
  const told = (terms: Partial<Lease>): Promise<unknown> => on.gate.value({ sandbox: SANDBOX, lease: { ...lease, ...terms }, host: HOST });
  assert.deepEqual([await told({}), await told({ methods: ['GET', 'PUT'] })], [CANARY, CANARY], 'control');
  for (const terms of OTHER_TERMS) await assert.rejects(told(terms), { code: 'LEASE_NOT_FOUND', message: /no lease of secret key on these terms/ }, JSON.stringify(terms));
  using gate = new Caller(on.sockets.gate);
  const asked = { sandbox: SANDBOX, lease: lease.id, host: HOST };
  for (const parameters of [asked, { ...asked, terms: {} }, { ...asked, terms: { at: 'header:Host' } }, { ...asked, terms: { ...termsOf(lease), hosts: [HOST] } }]) {
    await assert.rejects(gate.call('value', parameters), { code: 'FRAME_INVALID' }, JSON.stringify(parameters));
  }
  assert.equal(await gate.call('value', { ...asked, terms: termsOf(lease) }), CANARY, 'control');
});

test('SECRET_UNAVAILABLE: a vault that does not answer is waited for a bounded time', async () => {
  await using on = place();
  const startMs = performance.now();
  const [leasing, valuing] = await Promise.allSettled([leaseOne(on.control, 'key'), on.gate.value({ sandbox: SANDBOX, lease: { id: 'lea-0000000000000000', secret: 'key', at: 'bearer' }, host: HOST })]);
  for (const asked of [leasing, valuing]) assert.match(asked.status === 'rejected' ? asked.reason.message : '', /^secret key cannot be had: the vault does not answer$/);
  assert.ok(performance.now() - startMs < 8_000);
  await on.control.release(SANDBOX); // there is nothing to wait for
});

test('a vault that comes back within that time answers, and knows every lease but those that were given back', async () => {
  await using on = place();
  const first = await on.start({ ...KEY, other: rule('env:API_KEY') });
  const [key, other] = sent(await on.control.lease({ sandbox: SANDBOX, secrets: ['key', 'other'], expiresMs: null }));
  assert.ok(key !== undefined && other !== undefined);
  await first[Symbol.asyncDispose]();
  const revoking = on.control.revoke({ sandbox: SANDBOX, secret: 'other' });
  const valuing = delay(300).then(() => on.gate.value({ sandbox: SANDBOX, lease: key, host: HOST }));
  await using second = await on.start({ ...KEY, other: rule('env:API_KEY') });
  await revoking;
  assert.equal(await valuing, CANARY);
  assert.deepEqual(sent(second.vault.list().map(({ lease }) => lease)).map(({ id, placeholder }) => [id, placeholder]), [[key.id, key.placeholder]]);
});

test('a secret that cannot be had when the vault comes back is looked up again until it is there', async () => {
  await using on = place();
  const rules = { key: rule(`file:/${on.given.file('secret', CANARY).slice(1)}`), gone: rule('env:API_KEY') };
  const first = await on.start(rules);
  const [key] = sent(await on.control.lease({ sandbox: SANDBOX, secrets: ['key', 'gone'], expiresMs: null }));
  assert.ok(key !== undefined);
  await first[Symbol.asyncDispose]();
  on.given.file('secret', '');
  await using second = await on.start({ key: rules.key });
  await delay(500);
  assert.deepEqual(second.vault.list(), []);
  on.given.file('secret', CANARY);
  for (const untilMs = performance.now() + 5_000; second.vault.list().length === 0; await delay(50)) assert.ok(performance.now() < untilMs, 'it is not looked up again');
  assert.equal(await on.gate.value({ sandbox: SANDBOX, lease: key, host: HOST }), CANARY);
});

test('a control that is started anew adopts the leases that it finds in its notes, whatever became of the vault', async () => {
  await using on = place();
  const first = await on.start(KEY);
  const lease = await leaseOne(on.control, 'key');
  using next = new RemoteVault(on.sockets.control);
  assert.deepEqual(await next.adopt({ sandbox: SANDBOX, leases: [lease] }), { leases: [lease], refused: [] });
  on.control[Symbol.dispose]();
  await first[Symbol.asyncDispose]();
  await using second = await on.start(KEY);
  for (const untilMs = performance.now() + 5_000; second.vault.list().length === 0; await delay(20)) assert.ok(performance.now() < untilMs, 'it is not told');
  await next.release(SANDBOX);
  assert.deepEqual(second.vault.list(), []);
});

test('a sandbox that is released while its secrets are looked up has none, now or in a vault to come', async () => {
  await using on = place();
  const [begun, go] = [`${on.given.dir}/begun`, `${on.given.dir}/go`];
  const slow = { slow: rule({ exec: [on.given.program('slow', `touch ${begun}; until test -e ${go}; do sleep 0.02; done; echo ${CANARY}`)] }) };
  const first = await on.start(slow);
  const leasing = leaseOne(on.control, 'slow');
  for (const untilMs = performance.now() + 5_000; !existsSync(begun); await delay(20)) assert.ok(performance.now() < untilMs, 'it is not looked up');
  await on.control.release(SANDBOX);
  writeFileSync(go, '');
  await assert.rejects(leasing, { code: 'LEASE_NOT_FOUND' });
  await first[Symbol.asyncDispose]();
  await using second = await on.start(slow);
  await delay(500);
  assert.deepEqual(second.vault.list(), []);
});

test('what a control before this one had leased to a sandbox is given back by whoever sees its end', async () => {
  await using on = place();
  await using vault = await on.start(KEY);
  const lease = await leaseOne(on.control, 'key');
  using next = new RemoteVault(on.sockets.control);
  await next.release(SANDBOX);
  assert.deepEqual(vault.vault.list(), []);
  await assert.rejects(on.gate.value({ sandbox: SANDBOX, lease, host: HOST }), { code: 'LEASE_NOT_FOUND' });
});

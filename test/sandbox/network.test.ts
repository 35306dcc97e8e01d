import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type EgressRule, type NetworkRequest } from '@caisson/contract';
import { ASKING, stage } from './stay-given.ts';

const to = (...hosts: readonly string[]): NetworkRequest => ({ rules: hosts.map((host): EgressRule => ({ host })) });

test('the rules of a running and of a paused sandbox are changed: on record first, then in force, then what it says of itself', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  on.gate.onAdmit = async () => {
    const last = on.log.entries.at(-1);
    assert.deepEqual([last?.kind, last?.subject, last?.body], ['lifecycle', id, { event: 'network', caller: 'test', rules: ['allow b.test:443'] }]);
  };
  const changed = await on.sandboxes.changeNetwork(id, to('b.test'), ASKING);
  assert.deepEqual(changed, { rules: [{ host: 'b.test' }], connections: [], secrets: [], passed: { connections: 0, bytesOut: 0, bytesIn: 0 }, refused: [], refusedTotal: 0 });
  assert.deepEqual(on.sandboxes.get(id).network, to('b.test'));
  await on.sandboxes.pause(id, ASKING);
  on.gate.onAdmit = async () => undefined;
  await on.sandboxes.changeNetwork(id, to(), ASKING);
  assert.deepEqual(on.gate.admitted.get(id)?.network, to());
  assert.deepEqual((await on.sandboxes.networkState(id)).rules, []);
});

test('NETWORK_ABSENT: a sandbox that was made without a network gets none later, and one without rules does', async () => {
  await using on = await stage();
  const without = await on.sandboxes.create({}, ASKING);
  await assert.rejects(on.sandboxes.changeNetwork(without.id, to('a.test'), ASKING), (error: CaissonError) => error.code === 'NETWORK_ABSENT' && error.hint.includes('{"rules": []}'));
  await assert.rejects(on.sandboxes.networkState(without.id), { code: 'NETWORK_ABSENT' });
  assert.deepEqual(on.gate.asked, []);
  assert.ok(!on.log.entries.some(({ kind }) => kind === 'lifecycle'), 'what is refused is not said to be about to happen');
  const { id } = await on.sandboxes.create({ network: to() }, ASKING);
  await on.sandboxes.changeNetwork(id, to('a.test'), ASKING);
  assert.deepEqual(on.gate.admitted.get(id)?.network, to('a.test'));
});

test('EGRESS_EXCEEDS_POLICY: a change that the policy does not allow changes nothing', async () => {
  await using on = await stage({}, { network: { deny: [{ host: 'c.test' }] } });
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  await assert.rejects(on.sandboxes.changeNetwork(id, { rules: [{ host: 'b.test' }, { host: 'c.test', port: 22 }] }, ASKING), { code: 'EGRESS_EXCEEDS_POLICY' });
  assert.deepEqual(on.gate.admitted.get(id)?.network, to('a.test'));
  assert.deepEqual(on.sandboxes.get(id).network, to('a.test'));
});

test('a change that cannot be put on record leaves the rules as they were', async () => {
  await using on = await stage({}, { refuse: 'lifecycle' });
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  await assert.rejects(on.sandboxes.changeNetwork(id, to('b.test'), ASKING));
  assert.deepEqual([on.gate.admitted.get(id)?.network, on.sandboxes.get(id).network], [to('a.test'), to('a.test')]);
});

test('NETWORK_UNAVAILABLE: a change that the gate does not take leaves the rules as they were', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  on.gate.onAdmit = () => Promise.reject(new CaissonError('NETWORK_UNAVAILABLE', { what: 'the gate is gone', how: 'wait' }));
  await assert.rejects(on.sandboxes.changeNetwork(id, to('b.test'), ASKING), { code: 'NETWORK_UNAVAILABLE' });
  assert.deepEqual([on.gate.admitted.get(id)?.network, on.sandboxes.get(id).network], [to('a.test'), to('a.test')]);
});

test('changes at the same time are made one after the other: the last is what holds and what is said', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to() }, ASKING);
  let most = 0;
  let now = 0;
  on.gate.onAdmit = async () => {
    most = Math.max(most, (now += 1));
    await delay(5);
    now -= 1;
  };
  const hosts = ['a.test', 'b.test', 'c.test', 'd.test'];
  const said = await Promise.all(hosts.map((host) => on.sandboxes.changeNetwork(id, to(host), ASKING)));
  assert.equal(most, 1);
  assert.deepEqual(said.map(({ rules }) => rules[0]?.host), hosts);
  assert.deepEqual([on.gate.admitted.get(id)?.network, on.sandboxes.get(id).network], [to('d.test'), to('d.test')]);
});

test('SANDBOX_STATE: a change that waits while its sandbox is closed lets nobody speak', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  const held = Promise.withResolvers<void>();
  on.gate.onAdmit = () => held.promise;
  const first = on.sandboxes.changeNetwork(id, to('b.test'), ASKING);
  const second = on.sandboxes.changeNetwork(id, to('c.test'), ASKING);
  second.catch(() => undefined);
  await delay(10);
  const closed = on.sandboxes.close(id, ASKING);
  on.gate.onAdmit = async () => undefined;
  held.resolve();
  await Promise.allSettled([first, closed]);
  await assert.rejects(second, { code: 'SANDBOX_STATE' });
  await assert.rejects(on.sandboxes.networkState(id), { code: 'SANDBOX_STATE' });
  assert.ok(!on.gate.asked.includes('admit c.test'));
});

test('changed rules are those of the next control, of a fork and of a restored sandbox; each has a link of its own', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  await on.sandboxes.changeNetwork(id, to('b.test'), ASKING);
  const address = on.gate.admitted.get(id)?.address;
  const { id: forked } = await on.sandboxes.fork(id, {}, { ...ASKING, key: 'f' });
  assert.deepEqual([on.gate.admitted.get(forked)?.network, on.sandboxes.get(forked).network], [to('b.test'), to('b.test')]);
  assert.notEqual(on.gate.admitted.get(forked)?.address, address);
  await on.sandboxes.changeNetwork(id, to('c.test'), ASKING);
  assert.deepEqual(on.sandboxes.get(forked).network, to('b.test'), 'a fork has rules of its own');
  assert.equal((await on.sandboxes.fork(id, {}, { ...ASKING, key: 'f' })).id, forked, 'the same request is the same, whatever the rules are by now');

  const { id: snapshot } = await on.sandboxes.snapshot(id, {}, ASKING);
  await on.sandboxes.restore(id, snapshot, ASKING);
  assert.deepEqual(on.gate.asked.slice(-2), ['dismiss', 'admit c.test']);
  assert.notEqual(on.gate.admitted.get(id)?.address, address);

  on.gate.admitted.clear();
  const next = await on.restarted();
  assert.deepEqual(next.get(id).network, to('c.test'));
  assert.deepEqual(on.gate.admitted.get(id)?.network, to('c.test'));
  await next.changeNetwork(id, to('d.test'), ASKING);
  assert.deepEqual(on.gate.admitted.get(id)?.network, to('d.test'));
});

test('a sandbox that went on outlives a control that finds no gate, may speak to nobody meanwhile, and is admitted when there is one', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  const { id: closed } = await on.sandboxes.create({ network: to('b.test') }, ASKING);
  on.gate.admitted.clear();
  let isAway = true;
  on.gate.onAdmit = async () => {
    if (isAway) throw new CaissonError('NETWORK_UNAVAILABLE', { what: 'the gate does not answer', how: 'look' });
  };
  const next = await on.restarted();
  assert.deepEqual([next.get(id).state, next.get(closed).state], ['running', 'running']);
  await next.close(closed, ASKING);
  assert.deepEqual([...on.gate.admitted.keys()], []);
  isAway = false;
  for (const untilMs = Date.now() + 20_000; !on.gate.admitted.has(id); await delay(10)) assert.ok(Date.now() < untilMs, 'it is admitted');
  assert.deepEqual(on.gate.admitted.get(id)?.network, to('a.test'));
  await delay(600); // longer than the pause between two tries
  assert.ok(!on.gate.admitted.has(closed), 'one that was closed meanwhile is not');
});

test('a fork may ask for other rules, and for a network that its original has not', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({}, ASKING);
  const { id: forked } = await on.sandboxes.fork(id, { network: to('a.test') }, ASKING);
  assert.deepEqual(on.gate.admitted.get(forked)?.network, to('a.test'));
  assert.equal(on.sandboxes.get(id).network, null);
});

test('CHECKPOINT_UNAVAILABLE: the memory of a sandbox that has a network is neither kept nor forked', async () => {
  await using on = await stage();
  const { id } = await on.sandboxes.create({ network: to('a.test') }, ASKING);
  await assert.rejects(on.sandboxes.snapshot(id, { memory: true }, ASKING), { code: 'CHECKPOINT_UNAVAILABLE' });
  await assert.rejects(on.sandboxes.fork(id, { memory: true }, ASKING), { code: 'CHECKPOINT_UNAVAILABLE' });
});

test('a sandbox that was prepared is never given to a request with a network, not even one without rules', async () => {
  await using on = await stage({}, { warm: 2 });
  on.pool.open();
  while (on.pool.ready < 2) await delay(10);
  for (const network of [to(), to('a.test')]) {
    const { warm, id } = await on.sandboxes.create({ network }, ASKING);
    assert.equal(warm, false);
    assert.ok(on.gate.admitted.has(id));
  }
  assert.equal(on.pool.ready, 2);
  const { warm, network } = await on.sandboxes.create({}, ASKING);
  assert.deepEqual([warm, network], [true, null]);
});

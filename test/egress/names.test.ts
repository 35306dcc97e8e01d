import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Names, Pace } from '@caisson/egress';
import fc from 'fast-check';

const hosts = fc.uniqueArray(fc.domain().map((host) => host.toLowerCase()), { minLength: 1, maxLength: 200 });

test('an address stands for one name, which is found by it, however many there are', () => {
  fc.assert(fc.property(hosts, (asked) => {
    const names = new Names();
    const addresses = asked.map((host) => names.addressOf(host));
    assert.equal(new Set(addresses).size, asked.length);
    assert.deepEqual(addresses.map((address) => names.hostAt(address ?? '')), asked);
    assert.deepEqual(asked.map((host) => names.addressOf(host)), addresses, 'asked again, it is the same');
    assert.ok(addresses.every((address) => /^198\.18\.(?!0\.)\d+\.\d+$/.test(address ?? '')), 'the first 256 are the gate\'s own');
  }));
});

test('a gate that is started anew gives the names of rules, asked for in their order, the same addresses', () => {
  fc.assert(fc.property(hosts, (asked) => {
    const [before, after] = [new Names(), new Names()];
    assert.deepEqual(asked.map((host) => before.addressOf(host)), asked.map((host) => after.addressOf(host)));
  }));
});

test('a sandbox that asks for names without end gets 4096 of them, and keeps what it has', () => {
  const names = new Names();
  const first = names.addressOf('n0.example.com');
  for (let n = 1; n < 4_096; n++) assert.notEqual(names.addressOf(`n${n}.example.com`), null);
  assert.equal(names.addressOf('one-more.example.com'), null);
  assert.equal(names.addressOf('n0.example.com'), first);
});

test('an address that was given to nobody stands for nothing', () => {
  const names = new Names();
  const given = names.addressOf('api.example.com');
  for (const address of ['198.18.0.1', '198.18.255.255', '127.0.0.1', '']) assert.equal(address === given ? null : names.hostAt(address), null);
});

test('in no second more are taken than the pace, and who waits as long as it was told gets the next', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.nat(700), { minLength: 1, maxLength: 300 }), (most, pauses) => {
    let nowMs = 0;
    const pace = new Pace(most, () => nowMs);
    const taken = new Map<number, number>();
    for (const pause of pauses) {
      nowMs += pause;
      const waitMs = pace.take();
      const second = Math.floor(nowMs / 1_000);
      if (waitMs === 0) taken.set(second, (taken.get(second) ?? 0) + 1);
      else {
        assert.ok(waitMs <= 1_000 && (taken.get(second) ?? 0) === most, 'nobody waits while there is room');
        nowMs += waitMs;
        assert.equal(pace.take(), 0);
        taken.set(Math.floor(nowMs / 1_000), 1);
      }
    }
    assert.ok([...taken.values()].every((count) => count <= most));
  }));
});

test('a clock that goes back gives nobody more', () => {
  let nowMs = 5_000;
  const pace = new Pace(2, () => nowMs);
  assert.deepEqual([pace.take(), pace.take()], [0, 0]);
  nowMs = 1_000;
  assert.ok(pace.take() > 0);
});

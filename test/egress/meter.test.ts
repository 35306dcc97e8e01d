import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meter, Rate, type Layer } from '@caisson/egress';
import type { EgressRule } from '@caisson/contract';
import fc from 'fast-check';

const call = (...allow: readonly EgressRule[]): readonly Layer[] => [{ name: 'call', allow, deny: [] }];
const opens = (meter: Meter, layers: readonly Layer[], nowMs: number): boolean => meter.open(layers, nowMs).denied === null;

test('no 60 s hold more than the limit, and what is refused may go on within 61 s', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.nat(20_000), { maxLength: 60 }), fc.nat(1e9), (limit, waits, start) => {
    const rate = new Rate();
    const taken: number[] = [];
    let now = start;
    for (const wait of waits) {
      now += wait;
      const result = rate.take(limit, now);
      const within = taken.filter((at) => at > now - 60_000).length;
      const around = taken.filter((at) => at > now - 61_000).length;
      if (result.ok) taken.push(now);
      assert.ok(!result.ok || within < limit, 'never more than the limit');
      assert.ok(result.ok || around >= limit, 'refused only if 61 s hold as many');
      if (!result.ok) assert.ok(result.retryAfterMs > 0 && result.retryAfterMs <= 61_000, `${result.retryAfterMs}`);
    }
  }), { numRuns: 2_000 });
});

test('who waits as long as is said may go on, and a millisecond less is too early', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(15_000), { minLength: 1, maxLength: 20 }), (limit, waits) => {
    let now = 1_000_000;
    const rate = new Rate();
    for (const wait of waits) {
      now += wait;
      const result = rate.take(limit, now);
      if (result.ok) continue;
      assert.equal(rate.wouldTake(limit, now + result.retryAfterMs - 1).ok, false);
      assert.equal(rate.take(limit, now + result.retryAfterMs).ok, true);
      now += result.retryAfterMs;
    }
  }), { numRuns: 2_000 });
});

test('a clock that goes back, stands still or is no number gives nothing away', () => {
  const rate = new Rate();
  assert.equal(rate.take(1, 1e9).ok, true);
  for (const nowMs of [1e9 - 1e6, 0, -1, Number.NaN, 1e9, 1e9 + 59_999]) assert.equal(rate.take(1, nowMs).ok, false, `${nowMs}`);
  assert.equal(rate.take(1, 1e9 + 61_000).ok, true);
  assert.equal(rate.take(1, 1e15).ok, true, 'a leap of years is one step');
});

test('a limit that is changed counts what was taken before', () => {
  const rate = new Rate();
  for (let at = 0; at < 5; at++) assert.equal(rate.take(5, 1_000 * at).ok, true);
  assert.equal(rate.take(3, 5_000).ok, false);
  assert.equal(rate.take(6, 5_000).ok, true);
});

test('a connection counts against every rule that allows it, or against none', () => {
  const meter = new Meter();
  const wide: EgressRule = { host: '*.example.com', perMinute: 3 };
  const narrow: EgressRule = { host: 'a.example.com', perMinute: 1 };
  const both: readonly Layer[] = [{ name: 'organisation', allow: [wide], deny: [] }, { name: 'call', allow: [narrow], deny: [] }];
  assert.ok(opens(meter, both, 0));
  for (let attempt = 0; attempt < 10; attempt++) assert.ok(!opens(meter, both, 1));
  const above: readonly Layer[] = [{ name: 'organisation', allow: [wide], deny: [] }];
  assert.deepEqual([opens(meter, above, 2), opens(meter, above, 2), opens(meter, above, 2)], [true, true, false]);
});

test('a refusal says the rule, the limit and when it ends', () => {
  const meter = new Meter();
  const layers = call({ host: 'a.example.com', perMinute: 1 });
  meter.open(layers, 500);
  assert.deepEqual(meter.open(layers, 1_500).denied, {
    effect: 'deny', rule: 'allow a.example.com:443', reason: '"allow a.example.com:443" of the call allows 1 within 60 s', wouldAllow: 'the same in 60 s, or a greater perMinute',
  });
});

test('bytes pass up to the budget, both ways together, and then neither bytes nor connections', () => {
  const meter = new Meter();
  const layers = call({ host: 'a.example.com', bytes: 100 });
  assert.ok(opens(meter, layers, 0));
  assert.equal(meter.pass(layers, 60).denied, null);
  assert.equal(meter.pass(layers, 40).denied, null);
  assert.match(meter.pass(layers, 1).denied?.reason ?? '', /the 100 bytes that "allow a\.example\.com:443" of the call allows have passed/);
  assert.ok(!opens(meter, layers, 1e9), 'bytes do not come back with time');
});

test('two rules with one name share what they have used', () => {
  const meter = new Meter();
  assert.ok(opens(meter, call({ name: 'x', host: 'a.example.com', perMinute: 1 }), 0));
  assert.ok(!opens(meter, call({ name: 'x', host: 'b.example.com', perMinute: 1 }), 0));
  assert.ok(opens(meter, call({ name: 'y', host: 'b.example.com', perMinute: 1 }), 0));
});

test('a connection that two rules of one name allow counts once', () => {
  const meter = new Meter();
  const layers = call({ name: 'x', host: 'a.example.com', perMinute: 2, bytes: 10 }, { name: 'x', host: '*.example.com', perMinute: 2, bytes: 10 });
  assert.deepEqual([opens(meter, layers, 0), opens(meter, layers, 0), opens(meter, layers, 0)], [true, true, false]);
  assert.equal(meter.pass(layers, 10).denied, null);
});

test('a rule that only records lets pass what is over its budget, and says so', () => {
  const meter = new Meter();
  const layers = call({ host: 'a.example.com', perMinute: 1, bytes: 10, auditOnly: true });
  assert.deepEqual(meter.open(layers, 0), { denied: null, audit: null });
  assert.match(meter.open(layers, 0).audit?.reason ?? '', /allows 1 within 60 s/);
  assert.equal(meter.pass(layers, 11).denied, null);
  assert.match(meter.pass(layers, 1).audit?.reason ?? '', /10 bytes/);
});

test('rules that change for ever cost no more memory: beyond 1024 of them nothing opens', () => {
  const meter = new Meter();
  let opened = 0;
  for (let at = 0; at < 3_000; at++) if (opens(meter, call({ host: `a${at}.example.com` }), 0)) opened++;
  assert.equal(opened, 1_024);
  assert.ok(opens(meter, call({ host: 'a0.example.com' }), 0), 'those that are counted go on');
  assert.match(meter.pass(call({ host: 'a2999.example.com', bytes: 1 }), 1).denied?.reason ?? '', /bytes/);
});

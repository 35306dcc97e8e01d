import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { processUids, Slots, uidBase } from '@caisson/runtime';

/** The uid range that systemd's table (systemd.io/UIDS-GIDS) leaves to nobody. */
const FIRST = 1_879_048_192;
const LAST = 2_147_483_647;
const BLOCK = 131_072;
const SLOTS = BLOCK / 2 - 4;

test('no two sandboxes ever hold the same slot or uid, and what is given back is handed out again', () => {
  fc.assert(fc.property(fc.nat({ max: 200_000 }), fc.array(fc.oneof(fc.constant('take'), fc.nat()), { maxLength: 200 }), (start, steps) => {
    const slots = new Slots(FIRST, start);
    const held = new Map<number, number>();
    for (const step of steps) {
      if (step === 'take') {
        const { slot, hostUid } = slots.take();
        assert.ok(!held.has(slot) && slot >= 1 && slot <= SLOTS);
        for (const uid of held.values()) assert.ok(Math.abs(uid - hostUid) >= 2, 'each sandbox has two uids of its own');
        held.set(slot, hostUid);
      } else {
        const given = [...held.keys()][step % Math.max(held.size, 1)];
        if (given !== undefined) slots.give(given);
        held.delete(given ?? 0);
      }
    }
  }), { numRuns: 300 });
});

test('a slot that was given back is handed out last', () => {
  const slots = new Slots(FIRST, 7);
  const first = slots.take().slot;
  slots.give(first);
  const others = Array.from({ length: SLOTS - 1 }, () => slots.take().slot);
  assert.ok(!others.includes(first));
  assert.equal(slots.take().slot, first);
});

test('when every slot is taken a launch is LAUNCH_FAILED, until one is given back', () => {
  const slots = new Slots(FIRST, 65_000);
  const taken = new Set(Array.from({ length: SLOTS }, () => slots.take().slot));
  assert.equal(taken.size, SLOTS);
  assert.throws(() => slots.take(), { code: 'LAUNCH_FAILED' });
  slots.give(4_711);
  assert.equal(slots.take().slot, 4_711);
  assert.throws(() => slots.take(), { code: 'LAUNCH_FAILED' });
});

test('every uid of an instance is its own and in the range that belongs to nobody', () => {
  const instance = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((id) => id.toString(16).padStart(16, '0'));
  fc.assert(fc.property(instance, fc.nat(), (id, start) => {
    const base = uidBase(id);
    const { control, scribe, images } = processUids(id);
    assert.ok(base >= FIRST && base + BLOCK - 1 <= LAST && (base - FIRST) % BLOCK === 0);
    const { hostUid } = new Slots(base, start).take();
    assert.ok(hostUid > scribe && hostUid + 1 < images && images < base + BLOCK);
    assert.deepEqual([control, scribe], [base, base + 1]);
  }));
});

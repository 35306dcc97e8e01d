import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cores, onlineProcessors } from '@caisson/runtime';
import fc from 'fast-check';

test('the list of online processors is read as the kernel writes it', () => {
  assert.deepEqual(onlineProcessors('0-3,6\n'), [0, 1, 2, 3, 6]);
  assert.deepEqual(onlineProcessors('0\n'), [0]);
});

test('greedy sandboxes are spread over the processors, and none is forgotten', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 8 }), fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 40 }), (processors, asked) => {
    const cores = new Cores(Array.from({ length: processors }, (_, index) => index));
    const load = Array.from({ length: processors }, () => 0);
    const taken = asked.map((count) => cores.take(count));
    for (const [index, set] of taken.entries()) {
      assert.equal(set.length, Math.min(asked[index] ?? 0, processors));
      assert.equal(new Set(set).size, set.length);
      for (const processor of set) load[processor] = (load[processor] ?? 0) + 1;
    }
    assert.ok(Math.max(...load) - Math.min(...load) <= 1, load.join(' '));
    for (const set of taken) cores.give(set);
    assert.deepEqual(cores.take(processors).toSorted((a, b) => a - b), Array.from({ length: processors }, (_, index) => index));
  }));
});

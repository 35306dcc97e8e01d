import assert from 'node:assert/strict';
import { test } from 'node:test';
import { together } from '@caisson/daemon';

async function* pieces(...all: readonly (string | Promise<string>)[]): AsyncGenerator<string> {
  for (const one of all) yield await one;
}

async function read(from: AsyncIterable<string>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const piece of from) found.push(piece);
  return found;
}

test('what comes at once goes in one piece with the start', async () => {
  assert.deepEqual(await read(together('start ', pieces('output ', 'end'), 5_000)), ['start output end']);
});

test('a start does not wait for what comes late, and nothing is lost or told twice', async () => {
  const late = Promise.withResolvers<string>();
  const found: string[] = [];
  for await (const piece of together('start ', pieces('early ', late.promise, 'end'), 20)) {
    found.push(piece);
    late.resolve('late ');
  }
  assert.deepEqual(found, ['start early ', 'late ', 'end']);
});

test('a start that may not wait goes alone', async () => {
  assert.deepEqual(await read(together('start ', pieces('output'), 0)), ['start ', 'output']);
});

test('no more than 64 KiB and one piece are held back', async () => {
  const big = 'x'.repeat(64 * 1024);
  assert.deepEqual((await read(together('start ', pieces(big, 'more'), 5_000))).map(({ length }) => length), [6 + big.length, 4]);
});

test('what fails does so after all that came before', async () => {
  async function* failing(): AsyncGenerator<string> {
    yield 'output';
    throw new Error('it broke');
  }
  const reader = together('start ', failing(), 5_000);
  assert.deepEqual(await reader.next(), { done: false, value: 'start output' });
  await assert.rejects(reader.next(), /it broke/);
});

test('who stops reading ends the source', async () => {
  let ended = false;
  async function* source(): AsyncGenerator<string> {
    try {
      for (;;) yield 'x'.repeat(64 * 1024);
    } finally {
      ended = true;
    }
  }
  for await (const piece of together('start ', source(), 5_000)) if (piece !== '') break;
  assert.ok(ended);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EchoGuard, GRPC, spellingsOf, WEBSOCKET } from '@caisson/egress';

/** What comes out of a guard for pieces that go in, and whether it failed. */
async function through(texts: readonly string[], pieces: readonly string[]): Promise<{ readonly out: string; readonly failed: boolean }> {
  const guard = new EchoGuard(texts);
  let out = '';
  guard.on('data', (chunk: Buffer) => (out += chunk.toString('latin1')));
  const ended = new Promise<boolean>((resolve) => {
    guard.once('error', () => resolve(true));
    guard.once('end', () => resolve(false));
  });
  for (const piece of pieces) if (!guard.destroyed) guard.write(Buffer.from(piece, 'latin1'));
  if (!guard.destroyed) guard.end();
  return { out, failed: await ended };
}

const cutAt = (text: string, places: readonly number[]): readonly string[] => [0, ...places.toSorted((a, b) => a - b)].map((at, n, all) => text.slice(at, all[n + 1] ?? text.length));

test('a text that comes back in any pieces does not pass, not even its beginning', () => {
  const secret = 'sk-live-sk-live-42';
  return fc.assert(fc.asyncProperty(fc.string({ maxLength: 30 }), fc.string({ maxLength: 30 }), fc.array(fc.nat(78), { maxLength: 6 }), async (before, after, places) => {
    const text = Buffer.from(`${before}${secret}${after}`, 'latin1').toString('latin1');
    const { out, failed } = await through([secret], cutAt(text, places.filter((at) => at <= text.length)));
    const start = text.indexOf(secret);
    assert.ok(failed);
    assert.ok(text.slice(0, start).startsWith(out), `${JSON.stringify(out)} of ${JSON.stringify(text)}`);
  }), { numRuns: 300 });
});

test('everything else passes whole, also what begins like one of the texts', () =>
  fc.assert(fc.asyncProperty(fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 60 }), fc.array(fc.nat(60), { maxLength: 6 }), async (text, places) => {
    fc.pre(!text.includes('ababb') && !text.includes('bbbbb'));
    assert.deepEqual(await through(['ababb', 'bbbbb'], cutAt(text, places.filter((at) => at <= text.length))), { out: text, failed: false });
  }), { numRuns: 300 }));

/** What has come out of a guard before the end, for one piece. */
function atOnce(guard: EchoGuard, piece: Buffer): number {
  let length = 0;
  guard.on('data', (chunk: Buffer) => (length += chunk.length));
  guard.write(piece);
  return length;
}

test('how much is held back depends on the length of a text, and not on what it says', () => {
  const secret = 'sk-live-sk-live-42';
  for (let length = 1; length < secret.length; length++) {
    const [right, wrong] = [secret.slice(0, length), `${secret.slice(0, length - 1)}~`].map((guess) => atOnce(new EchoGuard([secret]), Buffer.from(`you said: ${guess}`)));
    assert.equal(right, wrong, `${length} letters that are right`);
  }
  assert.equal(atOnce(new EchoGuard([secret]), Buffer.from('data: sk-live-sk\n\n')), 18, 'a line that has ended is no part of a text');
});

test('of a WebSocket all frames that are whole pass at once, in whatever pieces they come, and a text in one does not', () =>
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 70_000 }), { minLength: 1, maxLength: 4 }), fc.array(fc.nat(140_000), { maxLength: 5 }), (lengths, places) => {
    const frame = (payload: Buffer): Buffer => {
      const { length } = payload;
      const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
      head[0] = 0x81;
      head[1] = head.length === 2 ? length : head.length === 4 ? 126 : 127;
      if (head.length === 4) head.writeUInt16BE(length, 2);
      if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
      return Buffer.concat([head, payload]);
    };
    const whole = Buffer.concat(lengths.map((length) => frame(Buffer.alloc(length, 'sk-live'))));
    const guard = new EchoGuard(['sk-live-42'], WEBSOCKET);
    let passed = 0;
    let failed = false;
    guard.on('data', (chunk: Buffer) => (passed += chunk.length));
    guard.on('error', () => (failed = true));
    const cuts = [0, ...places.filter((at) => at < whole.length).toSorted((a, b) => a - b), whole.length];
    for (const [n, at] of cuts.entries()) if (cuts[n + 1] !== undefined) guard.write(whole.subarray(at, cuts[n + 1]));
    return passed === whole.length && !failed;
  }), { numRuns: 100 }));

test('a message of gRPC passes at once, and the next is known for what it is', () => {
  const message = (text: string): Buffer => Buffer.concat([Buffer.of(0, 0, 0, 0, text.length), Buffer.from(text)]);
  const guard = new EchoGuard(['sk-live-42'], GRPC);
  assert.equal(atOnce(guard, message('hello')), 10);
  assert.equal(atOnce(guard, Buffer.concat([message('sk-live'), message('sk').subarray(0, 6)])), 12 + 5);
});

test('a value is known in base64 wherever it begins in that, and as JSON, addresses and pages have it', () => {
  const value = `sk/live+"0'&<${'x'.repeat(8)}==`;
  const known = (text: string): boolean => spellingsOf(value).some((each) => text.includes(each));
  for (const before of ['', 'a', 'ab', 'abc', 'user:']) {
    for (const encoding of ['base64', 'base64url'] as const) assert.ok(known(Buffer.from(`${before}${value}after`).toString(encoding)), before);
  }
  const page = value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
  for (const text of [JSON.stringify({ value }), JSON.stringify({ value }).replaceAll('/', '\\/'), encodeURIComponent(value), new URLSearchParams({ value }).toString(), page]) assert.ok(known(text), text);
  assert.ok(spellingsOf('short').every((each) => each === 'short'));
});

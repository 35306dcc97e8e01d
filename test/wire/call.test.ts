import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { CaissonError } from '@caisson/contract/errors';
import { answer, Caller, Channel, encodeFrame, type Verbs } from '@caisson/wire';
import { listen, socketPath, soon } from './given.ts';

const VERBS: Verbs = {
  double: async (parameters) => 2 * Number(parameters),
  nothing: async () => undefined,
  refuse: async () => { throw new CaissonError('USAGE', { detail: 'no' }); },
  break: async () => { throw new TypeError('broken'); },
  slow: async (parameters) => delay(Number(parameters), 'slept'),
};

/** Answers calls; a message that is no call ends its connection. */
async function serve(t: TestContext, verbs: Verbs = VERBS): Promise<string> {
  const path = socketPath(t);
  await listen(t, path, (socket) => {
    const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()) });
  });
  return path;
}

/** Answers every message with these bytes. */
async function serveBytes(t: TestContext, bytes: Buffer): Promise<string> {
  const path = socketPath(t);
  await listen(t, path, (socket) => socket.on('error', () => undefined).on('data', () => socket.write(bytes)));
  return path;
}

const message = (value: unknown): Buffer => encodeFrame('message', 0, Buffer.from(JSON.stringify(value)));

suite('a call', () => {
  test('gets the answer of its verb', async (t) => {
    using caller = new Caller(await serve(t));
    assert.equal(await caller.call('double', 21), 42);
    assert.equal(await caller.call('nothing', {}), null);
  });

  test('gets its own answer among many at once', async (t) => {
    using caller = new Caller(await serve(t));
    const slow = caller.call('slow', 30);
    const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => caller.call('double', index)));
    assert.deepEqual(answers, Array.from({ length: 200 }, (_, index) => 2 * index));
    assert.equal(await slow, 'slept');
  });

  const REFUSED = [
    ['refuse', 'USAGE', 'no'], ['break', 'INTERNAL', 'internal error: broken'], ['unheard', 'FRAME_INVALID', /no verb unheard/],
    ['constructor', 'FRAME_INVALID', /no verb constructor/], ['__proto__', 'FRAME_INVALID', /no verb __proto__/],
  ] as const;
  for (const [verb, code, text] of REFUSED) {
    test(`${code} is what the verb ${verb} comes to, and the connection stays`, async (t) => {
      using caller = new Caller(await serve(t));
      await assert.rejects(caller.call(verb, null), { name: 'CaissonError', code, message: text });
      assert.equal(await caller.call('double', 1), 2);
    });
  }

  const BAD_REPLIES: readonly (readonly [string, Buffer])[] = [
    ['a reply without a call', message({ ok: 1 })],
    ['a reply that is null', message(null)],
    ['a reply that is a list', message([0])],
    ['a problem without a code', message({ call: 0, problem: { message: 'x' } })],
    ['a problem with an unknown code', message({ call: 0, problem: { code: 'NO_SUCH_CODE', message: 'x', hint: 'y' } })],
    ['a problem that is null', message({ call: 0, problem: null })],
    ['a reply that is not JSON', encodeFrame('message', 0, Buffer.from('ok'))],
    ['bytes that are no frame', Buffer.alloc(9, 0xff)],
  ];
  for (const [what, bytes] of BAD_REPLIES) {
    test(`is DAEMON_UNREACHABLE after ${what}`, async (t) => {
      const path = await serveBytes(t, bytes);
      using caller = new Caller(path);
      await assert.rejects(soon(caller.call('x', null), 'the call'), { code: 'DAEMON_UNREACHABLE' });
    });
  }

  test('an answer to a call that nobody made is passed over', async (t) => {
    const path = await serveBytes(t, Buffer.concat([message({ call: 77, ok: 1 }), message({ call: -1, ok: 1 }), message({ call: 0, ok: 'mine' })]));
    using caller = new Caller(path);
    assert.equal(await soon(caller.call('x', null), 'the call'), 'mine');
  });

  test('is DAEMON_UNREACHABLE when the peer goes away in the middle of it, and the next call connects again', async (t) => {
    const path = socketPath(t);
    let connections = 0;
    await listen(t, path, (socket) => {
      connections++;
      if (connections === 1) socket.once('data', () => socket.destroy());
      else {
        const channel: Channel = new Channel(socket, { onMessage: (asked) => void answer(VERBS, asked, channel) });
      }
    });
    using caller = new Caller(path);
    const both = await Promise.allSettled([caller.call('double', 1), caller.call('double', 2)]);
    assert.deepEqual(both.map((one) => one.status === 'rejected' && (one.reason as CaissonError).code), ['DAEMON_UNREACHABLE', 'DAEMON_UNREACHABLE']);
    assert.equal(await caller.call('double', 3), 6);
    assert.equal(connections, 2);
  });

  test('is DAEMON_UNREACHABLE while nothing listens, and succeeds when something does', async (t) => {
    const path = socketPath(t);
    using caller = new Caller(path);
    await assert.rejects(caller.call('double', 1), { code: 'DAEMON_UNREACHABLE' });
    await listen(t, path, (socket) => {
      const channel: Channel = new Channel(socket, { onMessage: (asked) => void answer(VERBS, asked, channel) });
    });
    assert.equal(await caller.call('double', 4), 8);
  });

  test('that is made while its connection is closing never hangs', async (t) => {
    const path = socketPath(t);
    await listen(t, path, (socket) => {
      const channel: Channel = new Channel(socket, { onMessage: (asked) => void answer(VERBS, asked, channel) });
    });
    const caller = new Caller(path);
    await caller.call('double', 1);
    // A connection is destroyed some time before its close is told; this call begins between the two.
    const late = new Promise<unknown>((done) => process.nextTick(() => done(caller.call('double', 2))));
    caller[Symbol.dispose]();
    await assert.rejects(soon(late, 'the call'), { code: 'DAEMON_UNREACHABLE' });
  });

  test('whatever a peer sends to one that answers, it gets one reply per call and FRAME_INVALID for the rest', async () => {
    const values = fc.oneof(fc.jsonValue(), fc.record({ call: fc.oneof(fc.nat(), fc.jsonValue()), verb: fc.oneof(fc.constantFrom('double', 'nothing', 'x'), fc.jsonValue()), parameters: fc.jsonValue() }));
    await fc.assert(fc.asyncProperty(values, async (asked) => {
      const sent: unknown[] = [];
      const { call, verb } = (asked ?? {}) as Partial<Record<'call' | 'verb', unknown>>;
      const isCall = typeof call === 'number' && typeof verb === 'string';
      await answer(VERBS, asked, { send: (reply) => sent.push(reply) }).catch((error: CaissonError) => {
        assert.equal(error.code, 'FRAME_INVALID');
        assert.equal(isCall, false);
      });
      assert.deepEqual(sent.map((reply) => (reply as { call: number }).call), isCall ? [call] : []);
    }), { numRuns: 500 });
  });
});

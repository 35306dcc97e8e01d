import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { splitStream } from '@caisson/runtime';

interface Attached {
  readonly stream: Duplex;
  readonly said: Buffer[];
  readonly heard: Readonly<Record<'control' | 'data', Buffer[]>>;
  readonly lanes: ReturnType<typeof splitStream>;
}

/** An attached stream that is played by the test. */
function attached(): Attached {
  const said: Buffer[] = [];
  const stream = new Duplex({ read: () => undefined, write: (chunk: Buffer, _encoding, done) => (said.push(chunk), done()) });
  const lanes = splitStream(stream);
  const heard = { control: [] as Buffer[], data: [] as Buffer[] };
  for (const name of ['control', 'data'] as const) lanes[name].on('data', (chunk: Buffer) => heard[name].push(chunk)).on('error', () => undefined);
  return { stream, said, heard, lanes };
}

function frame(kind: number, bytes: Uint8Array): Buffer {
  const header = Buffer.from([kind, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

test('whatever pieces a stream comes in, each lane hears its own bytes and no other', async () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 })), { maxLength: 12 });
  await fc.assert(fc.asyncProperty(frames, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), async (sent, cuts) => {
    const { stream, heard } = attached();
    const bytes = Buffer.concat(sent.map(([kind, payload]) => frame(kind, payload)));
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const cut = cuts[turn % cuts.length] ?? 1;
      stream.push(bytes.subarray(at, at + cut));
      at += cut;
    }
    await delay(0);
    for (const [kind, name] of [[1, 'data'], [2, 'control']] as const) {
      const expected = Buffer.concat(sent.filter(([each]) => each === kind).map(([, payload]) => payload));
      assert.deepEqual(Buffer.concat(heard[name]), expected);
    }
    stream.destroy();
  }), { numRuns: 200 });
});

test('what is written to either lane goes into the one stream, frame by frame', async () => {
  const { said, lanes } = attached();
  lanes.control.write(Buffer.from('one'));
  lanes.data.write(Buffer.from('two'));
  lanes.control.write(Buffer.from('three'));
  await delay(0);
  assert.deepEqual(said.map(String).toSorted(), ['one', 'three', 'two']);
});

for (const kind of [0, 3, 255]) {
  test(`a stream of kind ${kind} ends both lanes`, async () => {
    const { stream, lanes } = attached();
    const closed = Promise.all([lanes.control, lanes.data].map((lane) => new Promise((done) => lane.once('close', done))));
    stream.push(frame(kind, Buffer.from('x')));
    await closed;
    assert.equal(stream.destroyed, true);
  });
}

for (const name of ['control', 'data'] as const) {
  test(`the end of the ${name} lane is the end of the stream`, async () => {
    const { stream, lanes } = attached();
    lanes[name].destroy();
    await delay(0);
    assert.equal(stream.destroyed, true);
  });
}

test('the end of the stream is the end of both lanes', async () => {
  const { stream, lanes } = attached();
  const ended = Promise.all([lanes.control, lanes.data].map((lane) => new Promise((done) => lane.once('end', done))));
  stream.push(null);
  await ended;
});

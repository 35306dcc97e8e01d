import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { noInternet } from './internet/internet.ts';
import { openScene, sinkSawNothing, type Box, type Scene } from './given.ts';

const run = promisify(execFile);
const FETCH = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '6', 'http://example.test/'];

describe('a sandbox whose kernel is broken into', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: ['93.184.216.34'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  const send = async (box: Box, other: Box, count: number): Promise<number> => {
    const argv = ['python3', `${import.meta.dirname}/attack-link.py`, await scene.addressOf(box), await scene.addressOf(other), `${count}`];
    const [program = '', ...args] = await scene.inLink(box, argv);
    return Number((await run(program, args)).stdout);
  };

  for (const level of ['container', 'gvisor'] as const) {
    test(`sends nothing beyond the gate and nothing in the name of another, and what it sends is its own on record (${level})`, async () => {
      await using other = await scene.open({ level: 'container', rules: ['example.test:80'] });
      await using box = await scene.open({ level });
      assert.equal((await other.exec(FETCH)).stdout.toString(), '200', 'control');
      const mark = await scene.net.mark();
      assert.ok((await send(box, other, 1)) > 500);
      await sinkSawNothing(scene, mark);
      await box.refusals(['198.18.0.1:3128/tcp: its source is not', '93.184.216.34:80/tcp: its source is not', '198.18.0.1:53/udp: its source is not', /^packet \[fe80::1\]:15001\/tcp/]);
      assert.deepEqual((await other.events()).filter(({ event }) => event === 'refused'), [], 'nothing is put down to the other');
      assert.equal((await other.exec(FETCH)).stdout.toString(), '200', 'and the other goes on');
    });
  }

  test('floods the gate with such packets, and another sandbox goes on', async () => {
    await using other = await scene.open({ level: 'container', rules: ['example.test:80'] });
    await using box = await scene.open({ level: 'container' });
    const sending = send(box, other, 200);
    for (let n = 0; n < 5; n++) assert.equal((await other.exec(FETCH)).stdout.toString(), '200');
    assert.ok((await sending) > 100_000);
    const entries = await box.events();
    assert.ok(entries.length < 300, `${entries.length} entries`);
  });
});

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { inside } from './internet/contact.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, sinkSawNothing, type Scene } from './given.ts';
import { BY_PROXY, CONTROL, DIRECT, INSIDE, onRecord, REACH, REACH_PROGRAM } from './reach.ts';

describe('a sandbox with a link and no rule', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: ['93.184.216.34'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  test('control: where there is no wall all of it is answered', async () => {
    const nameOf = (line: string): string => line.split('\t')[0] ?? '';
    // What a busy machine has not answered in time is asked for again.
    let silent: readonly string[] | null = null;
    for (let turn = 0; turn < 3 && silent?.length !== 0; turn++) {
      const said = (await inside(scene.net, ['python3', REACH, '203.0.113.77', CONTROL])).trimEnd().split('\n');
      const now = said.filter((line) => !line.includes('\tanswered') && !/^(tcp|udp) (198\.1|224|255|0\.)|^tcp 81\.|^raw/.test(line));
      silent = now.filter((line) => silent?.some((each) => nameOf(each) === nameOf(line)) !== false);
      assert.ok(said.length > 40, `${said.length} tries`);
    }
    assert.deepEqual(silent, []);
  });

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    for (const [way, pattern] of [['directly', DIRECT], ['by the proxies', BY_PROXY]] as const) {
      test(`reaches nothing ${way}, and what it tried is on record (${level})`, async () => {
        await using other = await scene.open({ level });
        const serving = other.exec(['timeout', '25', 'python3', '-m', 'http.server', '8000']);
        await using box = await scene.open({ level });
        const mark = await scene.net.mark();
        const tries = await box.python(REACH_PROGRAM, await scene.addressOf(other), pattern);
        assert.deepEqual(tries.filter((line) => !line.includes('\tno ')), []);
        assert.ok(tries.length > 100, `${tries.length} tries`);
        await sinkSawNothing(scene, mark);

        const expected = tries.filter((line) => !INSIDE.test(line)).flatMap((line) => onRecord(line.split('\t')[0] ?? '') ?? []);
        assert.ok(expected.length > 40, `${expected.length} of them left`);
        await box.refusals(expected);
        assert.ok((await other.events()).every(({ event, what }) => event !== 'refused' || what === 'name'), 'nothing is put down to the other');
        await other[Symbol.asyncDispose]();
        await serving;
      });
    }
  }
});

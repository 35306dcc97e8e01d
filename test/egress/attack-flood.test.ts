import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { leastOf } from '../least.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const FLOOD = readFileSync(`${import.meta.dirname}/attack-flood.py`, 'utf8');
const FLOOD_S = 4;
/** What lingers is let go after at most this. */
const REST_MS = 12_000;
/** Entries of one sandbox: as many refusals as are told apart, and their counts. */
const ENTRIES_MOST = 300;
const MIB = 1 << 20;

/** What another sandbox does meanwhile: a whole request every tenth of a second; how long the slowest took. */
const NEIGHBOUR = `
import http.client, sys, time
slowest, count, end = 0, 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    start = time.monotonic()
    out = http.client.HTTPConnection("example.test", 80, timeout=20)
    out.request("GET", "/ok")
    assert out.getresponse().status == 200
    out.close()
    slowest, count = max(slowest, time.monotonic() - start), count + 1
    time.sleep(0.1)
print(count, slowest)
`;

function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

describe('a hostile sandbox', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  let neighbour: Box;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: ['93.184.216.34'] });
    neighbour = await scene.open({ level: 'container', rules: ['example.test:80'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  for (const kind of ['slow', 'half-open', 'churn', 'names', 'hellos', 'heads', 'unread'] as const) {
    const told: string[] = [];
    /** Floods once: seconds that the slowest request of the neighbour took, or `Infinity` where one of the two did too little. */
    const flood = async (): Promise<number> => {
      await using box = await scene.open({ level: 'container', rules: ['example.test:80', 'example.test:443'] });
      const gate = await scene.pidOf('gate');
      const [memory, descriptors] = [memoryOf(gate), descriptorsOf(gate)];
      const serving = neighbour.python(NEIGHBOUR, `${FLOOD_S - 1}`);
      let most = { memory: 0, descriptors: 0 };
      const watching = setInterval(() => (most = { memory: Math.max(most.memory, memoryOf(gate)), descriptors: Math.max(most.descriptors, descriptorsOf(gate)) }), 100);
      const [done] = await box.python(FLOOD, kind, `${FLOOD_S}`).finally(() => clearInterval(watching));
      const [count = 0, slowestS = 0] = ((await serving)[0] ?? '').split(' ').map(Number);
      const facts = `${kind}: ${done} done; memory ${Math.round(memory / MIB)} to ${Math.round(most.memory / MIB)} MiB, descriptors ${descriptors} to ${most.descriptors}; neighbour ${count} requests, slowest ${slowestS} s`;
      if (process.env['CAISSON_TEST_LOG'] !== undefined) console.error(facts);

      assert.equal(await scene.pidOf('gate'), gate, 'it is the same gate');
      assert.ok(most.memory - memory < 150 * MIB, facts);
      assert.ok(most.descriptors - descriptors < 3_000, facts);
      assert.ok((await box.events()).filter(({ event }) => event.startsWith('refused')).length < ENTRIES_MOST, facts);
      await box[Symbol.asyncDispose]();
      for (const untilMs = performance.now() + REST_MS; descriptorsOf(gate) > descriptors + 20; await delay(200)) assert.ok(performance.now() < untilMs, `${facts}; ${descriptorsOf(gate)} are left`);
      told.push(facts);
      return Number(done) > 4 && count > 8 ? slowestS : Infinity;
    };
    test(`is bounded, and costs no other its service (${kind})`, async () => assert.ok((await leastOf(3, flood)) < 3, told.join('\n')));
  }
});

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { leastOf } from '../least.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const FLOOD = readFileSync(`${import.meta.dirname}/attack-http2.py`, 'utf8');
const FLOOD_S = 2;
const REST_MS = 15_000;
const MIB = 1 << 20;
/** Kinds that no session may go on with. A block of fields that grows too long costs its stream alone. */
const ENDED = new Set<string>(['settings-unread', 'ping-unread', 'continuation', 'continuation-empty', 'bad']);
const KINDS = ['settings', 'settings-unread', 'ping', 'ping-unread', 'continuation', 'continuation-empty', 'bomb', 'empty-data', 'priority', 'windows', 'unread', 'drip', 'unknown', 'bad'] as const;

/** What another sandbox does meanwhile: a request every tenth of a second, by HTTP/2 that is read as well; how long the slowest took. */
const NEIGHBOUR = `
import subprocess, sys, time
slowest, count, end = 0, 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    start = time.monotonic()
    assert subprocess.run(["curl", "-sS", "--fail", "--max-time", "20", "-o", "/dev/null", "https://api.example.test/bytes/1"]).returncode == 0
    slowest, count = max(slowest, time.monotonic() - start), count + 1
    time.sleep(0.1)
print(count, slowest)
`;

const memoryOf = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

describe('a hostile sandbox whose requests by HTTP/2 are read', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  let neighbour: Box;
  before(async () => {
    scene = await openScene({ policy: ({ net }) => ({ network: { certificateAuthorities: [net.caPem] } }) });
    await scene.net.zone.set('api.example.test', { addresses: ['93.184.216.34'], ttlSeconds: 3_600 });
    neighbour = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
  });
  after(() => scene[Symbol.asyncDispose]());

  for (const kind of KINDS) {
    const told: string[] = [];
    /** Floods once: seconds that the slowest request of the neighbour took, or `Infinity` where one of the two did too little. */
    const flood = async (): Promise<number> => {
      await using box = await scene.open({ level: 'container', rules: [{ host: 'api.example.test', protocol: 'https' }] });
      const gate = await scene.pidOf('gate');
      const [memory, descriptors] = [memoryOf(gate), descriptorsOf(gate)];
      const serving = neighbour.python(NEIGHBOUR, `${FLOOD_S - 1}`);
      let most = { memory: 0, descriptors: 0 };
      const watching = setInterval(() => (most = { memory: Math.max(most.memory, memoryOf(gate)), descriptors: Math.max(most.descriptors, descriptorsOf(gate)) }), 100);
      const [done = ''] = await box.python(FLOOD, kind, `${FLOOD_S}`).finally(() => clearInterval(watching));
      const [rounds = 0, ended = 0] = done.split(' ').map(Number);
      const [count = 0, slowestS = 0] = ((await serving)[0] ?? '').split(' ').map(Number);
      const facts = `${kind}: ${rounds} rounds, ${ended} sessions ended; memory ${Math.round(memory / MIB)} to ${Math.round(most.memory / MIB)} MiB, descriptors ${descriptors} to ${most.descriptors}; neighbour ${count} requests, slowest ${slowestS} s`;
      if (process.env['CAISSON_TEST_LOG'] !== undefined) console.error(facts);

      assert.equal(await scene.pidOf('gate'), gate, 'it is the same gate');
      assert.ok(most.memory - memory < 150 * MIB, facts);
      await box[Symbol.asyncDispose]();
      for (const untilMs = performance.now() + REST_MS; descriptorsOf(gate) > descriptors + 20; await delay(200)) assert.ok(performance.now() < untilMs, `${facts}; ${descriptorsOf(gate)} are left`);
      told.push(facts);
      return rounds + ended > 3 && (ended > 0 || !ENDED.has(kind)) && count >= 1 ? slowestS : Infinity;
    };
    test(`is bounded, and costs no other its service (${kind})`, { timeout: 180_000 }, async () => assert.ok((await leastOf(4, flood)) < 4, told.join('\n')));
  }
});

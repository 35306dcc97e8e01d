import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { Approvals, type HeldAttempt } from '@caisson/sdk';
import { HOME } from '../harness.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const HOST = 'held.example.test';
const run = promisify(execFile);
const noPython = await run('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']).then(() => false as const, () => 'needs Python 3.11 or newer');

/** Waits for what one sandbox asks and decides it. */
const DECIDING = `
import asyncio, sys
from caisson import Approvals, AsyncApprovals
side, sandbox, decision = sys.argv[1:]
async def decide():
    async for held in AsyncApprovals.watch(sandbox=sandbox, every_s=0.05):
        return await getattr(AsyncApprovals, decision)(held["id"])
if side == "async":
    decided = asyncio.run(decide())
else:
    decided = getattr(Approvals, decision)(next(Approvals.watch(sandbox=sandbox, every_s=0.05))["id"])
print(decided["decision"], decided["host"], decided["waiting"])
`;

describe('what waits in a real sandbox is decided by a program', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set(HOST, { addresses: ['93.184.216.34'] });
  });
  after(() => scene[Symbol.asyncDispose]());
  const open = (): Promise<Box> => scene.open({ level: 'container', rules: [{ host: HOST, port: 80, hold: true }] });
  const get = async (box: Box): Promise<string> => (await box.exec(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '60', `http://${HOST}/`])).stdout.toString();

  test('by @caisson/sdk: one is allowed, the same again while that holds passes, and another is denied', { timeout: 120_000 }, async () => {
    await using box = await open();
    await using other = await open();
    const connection = { socket: scene.paths.apiSocket };
    const next = async ({ id }: Box): Promise<HeldAttempt> => {
      for await (const held of Approvals.watch({ connection, sandbox: id, everyMs: 50, signal: AbortSignal.timeout(60_000) })) return held;
      throw new Error('the list has ended');
    };
    const mark = await scene.net.mark();
    const asking = get(box);
    const held = await next(box);
    assert.deepEqual([held.host, held.port, held.method, (await scene.net.since(mark)).requests.length], [HOST, 80, 'GET', 0]);
    const decided = await Approvals.allow(held.id, { connection, for: 'sandbox' });
    assert.deepEqual([decided.decision, decided.untilMs, await asking, await get(box)], ['allow', null, '200', '200']);
    await assert.rejects(Approvals.deny(held.id, { connection }), { code: 'APPROVAL_NOT_FOUND' });
    const denied = get(other);
    await Approvals.deny((await next(other)).id, { connection });
    assert.equal(await denied, '403');
    assert.deepEqual(await Approvals.list({ connection, sandbox: other.id }), []);
  });

  for (const [side, decision, status] of [['blocking', 'allow', '200'], ['async', 'allow', '200'], ['blocking', 'deny', '403']] as const) {
    test(`by the Python SDK (${side}, ${decision})`, { skip: noPython, timeout: 120_000 }, async () => {
      await using box = await open();
      const asking = get(box);
      const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: `${HOME}/sdk/python/src`, CAISSON_API_SOCKET: scene.paths.apiSocket };
      const { stdout } = await run('python3', ['-c', DECIDING, side, box.id, decision], { env, timeout: 60_000 });
      assert.deepEqual([stdout, await asking], [`${decision} ${HOST} 1\n`, status]);
    });
  }
});

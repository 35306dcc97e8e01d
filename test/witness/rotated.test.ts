import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatVerifierKey } from '@caisson/tlog';
import { newSigner } from '../verify/given.ts';
import { forkOf, makeWitness, newLog, ORIGIN, requestFor, send, serveWitness } from './given.ts';

test('a witness of a log whose key was replaced refuses the new key until its file has it, and then goes on from the head that it had, for neither key from another', async (t) => {
  const [old, next] = [newLog(300), newLog(310, newSigner(ORIGIN))];
  const witness = await makeWitness(t, [old]);
  {
    await using running = await serveWitness(t, witness);
    assert.equal((await send(running.url, await requestFor(old, 0))).status, 200);
    assert.equal((await send(running.url, await requestFor(next, 300))).status, 403);
  }
  const config = JSON.parse(readFileSync(witness.config, 'utf8')) as { readonly logs: readonly object[] };
  const lineOf = ({ signer }: typeof old): object => ({ origin: ORIGIN, key: formatVerifierKey(signer.publicKey) });
  const tell = (...logs: readonly (typeof old)[]): void => writeFileSync(witness.config, JSON.stringify({ ...config, logs: logs.map(lineOf) }));
  tell(old, next);
  {
    await using running = await serveWitness(t, witness);
    for (const log of [old, next]) assert.equal((await send(running.url, await requestFor(forkOf(log, 200, 320), 300))).status, 422);
    assert.equal((await send(running.url, await requestFor(next, 300))).status, 200);
  }
  tell(next);
  await using running = await serveWitness(t, witness);
  assert.equal((await send(running.url, await requestFor(newLog(320, old.signer), 310))).status, 403);
  assert.equal((await send(running.url, await requestFor(newLog(320, next.signer), 310))).status, 200);
});

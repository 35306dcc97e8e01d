import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { leafHash, openCheckpoint, EMPTY_EDGE, formatCheckpoint, grow, rootOf, signNote, tileTree, consistencyProof, type Edge } from '@caisson/tlog';
import { formatRequest } from '@caisson/witness';
import { HOME } from '../harness.ts';
import { fetchOf, resourcesOf } from '../tlog/given.ts';
import { makeWitness, newLog, ORIGIN, send, type GivenWitness } from './given.ts';

const KILLS = 30;

/** The real program, and where it listens; it is told to end when the process of the test does not kill it before. */
async function startProgram({ config }: GivenWitness): Promise<{ readonly url: string; readonly kill: () => Promise<void> }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${HOME}/apps/cli/src/main.ts`, 'witness', 'run', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, 'line') as Promise<[string]>, ended.then(() => null)]);
  if (first === null) throw new Error('the witness ended before it listened');
  return {
    url: first[0],
    async kill() {
      child.kill('SIGKILL');
      await ended;
      lines.close();
    },
  };
}

test(`a witness that is killed ${KILLS} times at random points never signs two roots of one size, nor what it has not kept`, async (t) => {
  const { signer } = newLog(0);
  const witness = await makeWitness(t, [newLog(0, signer)]);
  /** The entries that the witness stands by; the log tries to go on from them in two ways at once. */
  let entries: readonly Buffer[] = [];
  let edge: Edge = EMPTY_EDGE;
  let kills = 0;
  let unanswered = 0;
  const signed = new Map<number, string>();
  const next = (way: string): Buffer => Buffer.from(`${entries.length} ${way}`);

  const ask = async (url: string, old: number, way: string): Promise<number> => {
    const grown = grow(edge, leafHash(next(way)));
    const all = [...entries, next(way)];
    const proof = await consistencyProof(tileTree(fetchOf(resourcesOf(all)), all.length), old, all.length);
    const checkpoint = Buffer.from(await signNote(formatCheckpoint({ origin: ORIGIN, size: grown.size, root: rootOf(grown) }), [signer]));
    const { status, body } = await send(url, formatRequest({ old, proof, checkpoint }));
    if (status !== 200) return status;
    const opened = openCheckpoint(Buffer.concat([checkpoint, Buffer.from(body)]), { logKeys: [signer.publicKey], witnesses: [witness.key] });
    assert.ok('note' in opened && opened.note.signers.includes(witness.key));
    const root = rootOf(grown).toString('hex');
    assert.equal(signed.get(grown.size) ?? root, root, `two roots of size ${grown.size} are signed`);
    signed.set(grown.size, root);
    return status;
  };
  const stand = (way: string): void => {
    edge = grow(edge, leafHash(next(way)));
    entries = [...entries, next(way)];
  };
  /** What it has kept of the two ways that were under way when it was killed. */
  const settle = async (url: string): Promise<void> => {
    const never = edge.size + 2;
    const { body } = await send(url, formatRequest({ old: never, proof: [], checkpoint: Buffer.from(await signNote(formatCheckpoint({ origin: ORIGIN, size: never, root: Buffer.alloc(32) }), [signer])) }));
    const size = Number(body);
    assert.ok(size === edge.size || size === edge.size + 1, `it has ${body.trim()} and stood at ${edge.size}`);
    assert.ok(size >= Math.max(0, ...signed.keys()), 'it went backwards');
    if (size === edge.size) return;
    unanswered += 1;
    const statuses = [await ask(url, size, 'left'), await ask(url, size, 'right')];
    assert.deepEqual(statuses.toSorted((a, b) => a - b), [200, 409]);
    stand(statuses[0] === 200 ? 'left' : 'right');
  };

  /** Both ways at once; false: neither was signed, because the witness is gone. */
  const goOn = async (url: string): Promise<boolean> => {
    const [left, right] = await Promise.all(['left', 'right'].map((way) => ask(url, edge.size, way).catch((error: unknown) => (error instanceof TypeError ? 0 : Promise.reject(error)))));
    assert.ok(left !== 200 || right !== 200, 'both ways are signed');
    if (left === 200) stand('left');
    if (right === 200) stand('right');
    return left === 200 || right === 200;
  };

  while (kills < KILLS || (signed.size <= KILLS && kills < 200)) { // a disk that is slow to keep lets it sign little before it is killed
    const { url, kill } = await startProgram(witness);
    try {
      await settle(url);
      const killed = sleep(Math.random() * 60).then(kill);
      while (await goOn(url));
      await killed;
      kills += 1;
    } finally {
      await kill();
    }
  }
  assert.ok(signed.size > KILLS, `only ${signed.size} heads`);
  t.diagnostic(`${signed.size} heads were signed, ${unanswered} were kept and not answered`);
});

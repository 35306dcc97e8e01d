import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Level } from '@caisson/contract';
import { Sandbox, type ConnectionOptions, type Process } from '@caisson/sdk';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';
import { evidenceIsWhole, kill, levelsHere, randomFrom, worksAgain } from './given.ts';
import { settledLeftovers } from './leftovers.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;
const seed = Number(process.env['CAISSON_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers that a command prints, and how it does: not all at once. */
const LAST = 800_000;
const STEPS = 20;
const PRINT = `i=0; while [ $i -lt ${STEPS} ]; do seq -f %.0f $((i * ${LAST / STEPS} + 1)) $(((i + 1) * ${LAST / STEPS})); i=$((i + 1)); sleep 0.05; done`;
const PRINTED = Buffer.from(Array.from({ length: LAST }, (_, at) => `${at + 1}\n`).join(''));

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Everything of an exec from an offset on, as one reader gets it. */
async function allOf(process: Process, from = 0): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { bytes, offset, stream } of process.output({ from })) {
    assert.equal(stream, 'stdout');
    assert.equal(offset, from + chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/** A client of its own, which starts the command, says its id, and then how many bytes it has seen. */
const CLIENT = `
import { Sandbox } from '${HOME}/sdk/typescript/src/index.ts';
const [socket, id, script, key] = process.argv.slice(1);
const box = await Sandbox.connect(id, { connection: { socket } });
let seen = 0;
await box.sh(script, { idempotencyKey: key, onOutput: ({ bytes }) => console.log(seen += bytes.byteLength) });
`;

/** Starts a client and kills it when it has been told of output for a while; resolves to what it had seen. */
async function killedClient(box: Sandbox, { socket }: ConnectionOptions, key: string, lifeMs: number): Promise<number> {
  const client = spawn(process.execPath, ['--input-type=module', '-e', CLIENT, socket ?? '', box.id, PRINT, key], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise((done) => client.once('exit', done));
  let told = '';
  client.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  await new Promise((done) => client.stdout.once('data', done));
  await delay(lifeMs);
  client.kill('SIGKILL');
  await exited;
  return Number(told.slice(0, told.lastIndexOf('\n')).split('\n').at(-1));
}

test('kill -9 of the client in the middle of an exec, then of control: the exec goes on, and each byte is read exactly once', { skip }, async () => {
  await using caisson = await startCaisson();
  const connection = { socket: caisson.paths.apiSocket };
  const random = randomFrom(seed);
  for (const level of await levelsHere(caisson)) {
    for (let trial = 0; trial < 3; trial++) {
      const said = `seed ${seed}, ${level}, trial ${trial}`;
      await using box = await Sandbox.create({ level, limits: { outputBytes: 2 ** 25 } }, { connection });
      const key = `cut-${level}-${trial}`;
      const seen = await killedClient(box, connection, key, random() * 500);
      const [exec] = await box.execs();
      const running = await box.attach(exec?.id ?? '');
      const across = allOf(running); // a reader that is there while control dies
      await delay(random() * 200);
      await kill(caisson, 'control');
      const repeated = await box.spawn(['/bin/sh', '-c', PRINT], { idempotencyKey: key });
      assert.equal(repeated.id, running.id, `${said}: asked again with the same key, the command was started again`);
      assert.equal((await running.wait()).exit, 0, said);
      assert.equal((await running.info()).output?.stdout.sha256, digest(PRINTED), said);
      assert.equal(digest(await across), digest(PRINTED), `${said}: the reader that was there`);
      assert.equal(digest(await allOf(running)), digest(PRINTED), `${said}: a new reader`);
      assert.equal(digest(await allOf(running, seen)), digest(PRINTED.subarray(seen)), `${said}: from ${seen} on`);
      assert.equal((await box.execs()).length, 1, said);
    }
  }
  assert.deepEqual(await settledLeftovers(caisson.paths), []);
  await evidenceIsWhole(caisson);
});

const dataOf = (tag: string): Buffer => Buffer.alloc(200_000, `${tag} `);

async function fill(box: Sandbox, tag: string): Promise<void> {
  await box.files.write('data', dataOf(tag));
  await box.files.write('tag', tag);
}

/** Which content a workspace has: all of it is of one time. */
async function contentOf(box: Sandbox): Promise<string> {
  const [tag, data] = await Promise.all([box.files.read('tag'), box.files.readBytes('data')]);
  assert.ok(dataOf(tag).equals(data), `the files are of different times: ${tag}`);
  return tag;
}

/** What must still be there, whatever is killed: content by name of the workspace and by snapshot. */
interface Promised {
  readonly workspaces: Map<string, readonly string[]>;
  readonly snapshots: Map<string, readonly string[]>;
}

interface Ground {
  readonly connection: ConnectionOptions;
  readonly level: Level;
  readonly trial: number;
  readonly promised: Promised;
}

/** Five verbs, one of them twice, each on a sandbox of its own that is there before; what has become true is promised. */
async function verbs({ connection, level, trial, promised: { workspaces, snapshots } }: Ground): Promise<readonly (readonly [string, () => Promise<unknown>])[]> {
  const made = async (verb: string): Promise<Sandbox> => {
    const workspace = `${verb}-${trial}`;
    const box = await Sandbox.create({ level, workspace, limits: { workspaceBytes: 2 ** 25 } }, { connection });
    await fill(box, `${verb}-${trial}-first`);
    workspaces.set(workspace, [`${verb}-${trial}-first`]);
    return box;
  };
  const [snapped, forked, restored, closed] = await Promise.all(['snapshot', 'fork', 'restore', 'close'].map(made)) as [Sandbox, Sandbox, Sandbox, Sandbox];
  const before = await restored.snapshot();
  snapshots.set(before.id, [`restore-${trial}-first`]);
  await fill(restored, `restore-${trial}-second`);
  workspaces.set(`restore-${trial}`, [`restore-${trial}-second`, `restore-${trial}-first`]);
  return [
    ['create', () => Sandbox.create({ level, from: before.id }, { connection })],
    ['create', () => Sandbox.create({ level }, { connection })],
    ['snapshot', async () => snapshots.set((await snapped.snapshot()).id, [`snapshot-${trial}-first`])],
    ['fork', async () => {
      await forked.fork({ workspace: `forked-${trial}` });
      workspaces.set(`forked-${trial}`, [`fork-${trial}-first`]);
    }],
    ['restore', async () => {
      await restored.restore(before);
      workspaces.set(`restore-${trial}`, [`restore-${trial}-first`]);
    }],
    ['close', () => closed.close()],
  ];
}

/** Every workspace and snapshot that was said to be there is there, and what was not said is whole or not there. */
async function keptPromises(connection: ConnectionOptions, { workspaces, snapshots }: Promised): Promise<void> {
  for (const [workspace, contents] of workspaces) {
    await using box = await Sandbox.create({ workspace }, { connection });
    assert.ok(contents.includes(await contentOf(box)), `workspace ${workspace}`);
  }
  for (const [from, contents] of snapshots) {
    await using box = await Sandbox.create({ from }, { connection });
    assert.ok(contents.includes(await contentOf(box)), `snapshot ${from}`);
  }
}

async function closeAll(connection: ConnectionOptions): Promise<void> {
  for (const state of ['running', 'paused', 'creating', 'restoring', 'closing'] as const) {
    for await (const { id } of Sandbox.list({ state }, { connection })) await (await Sandbox.connect(id, { connection })).close();
  }
}

/** Six verbs are cut off by each. */
const KILLS = { launcher: 10, control: 6 } as const;
const LONGEST_MS = { container: 80, gvisor: 160, microvm: 160 } as const;

for (const role of ['launcher', 'control'] as const) {
  test(`kill -9 of ${role} at any step of create, snapshot, fork, restore and close orphans nothing, loses no layer and leaves none half there`, { skip, timeout: 280_000 }, async () => {
    await using caisson = await startCaisson();
    const connection = { socket: caisson.paths.apiSocket };
    const random = randomFrom(seed);
    const levels = await levelsHere(caisson);
    const everything: Promised = { workspaces: new Map(), snapshots: new Map() };
    for (let trial = 0; trial < KILLS[role]; trial++) {
      const level = levels[trial % levels.length] ?? 'container';
      const said = `seed ${seed}, ${level}, trial ${trial}`;
      const promised: Promised = { workspaces: new Map(), snapshots: new Map() };
      const longestMs = LONGEST_MS[level];
      const done = (await verbs({ connection, level, trial, promised })).map(async ([verb, act]) => {
        await delay(random() * longestMs);
        return act().then(() => `${verb} done`, (error: unknown) => `${verb}: ${String(error)}`);
      });
      await delay(longestMs);
      await kill(caisson, role);
      await Promise.all(done);
      await worksAgain(connection);
      await closeAll(connection);
      assert.deepEqual(await settledLeftovers(caisson.paths), [], said);
      await keptPromises(connection, promised);
      await evidenceIsWhole(caisson);
      promised.workspaces.forEach((contents, id) => everything.workspaces.set(id, contents));
      promised.snapshots.forEach((contents, id) => everything.snapshots.set(id, contents));
    }
    await keptPromises(connection, everything);
    assert.deepEqual(await settledLeftovers(caisson.paths), [], `seed ${seed}, at the end`);
  });
}

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sealed } from '@caisson/contract';
import type { Keyring } from '@caisson/sealing';
import { problem } from '../evidence/given.ts';
import { ABOUT, ringIn, tempDir } from './given.ts';

const SEALER = `${import.meta.dirname}/sealer.ts`;
const ROUNDS = 25;
const inSegment = (segment: number, tenant = 'acme'): Parameters<Keyring['seal']>[1] => ({ tenant, segment, about: ABOUT });

test('kill -9 at any moment leaves no text sealed by a key that is not there, and no key that is not whole', async (t) => {
  const dir = tempDir(t);
  (await ringIn(dir))[Symbol.dispose]();
  const sealed: Sealed[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = spawn(process.execPath, [SEALER, `${dir}/ring`], { stdio: ['ignore', 'pipe', 'inherit'] });
    const said = text(child.stdout);
    await once(child.stdout, 'readable');
    await sleep(Math.random() * 60); // the moment is the point: no condition is waited for
    child.kill('SIGKILL');
    sealed.push(...(await said).split('\n').slice(0, -1).map((line) => JSON.parse(line) as Sealed));
  }
  assert.ok(sealed.length >= ROUNDS, String(sealed.length));
  using ring = await ringIn(dir);
  for (const each of sealed) assert.equal((await ring.unseal(each, ABOUT)).state, 'open');
  for (const id of await ring.keyIds()) assert.notEqual(await ring.exported(id), null); // which throws for one that is not whole
});

test('many processes that need the key of one tenant at once make one key', async (t) => {
  const dir = tempDir(t);
  const children = Array.from({ length: 6 }, () => spawn(process.execPath, [SEALER, `${dir}/ring`, '1'], { stdio: ['ignore', 'pipe', 'inherit'] }));
  const said = await Promise.all(children.map(({ stdout }) => text(stdout)));
  const sealed = said.map((line) => JSON.parse(line) as Sealed);
  assert.equal(new Set(sealed.map(({ key }) => key)).size, 1);
  using ring = await ringIn(dir);
  for (const each of sealed) assert.equal((await ring.unseal(each, ABOUT)).state, 'open');
  assert.equal((await ring.keyIds()).length, 1);
});

test('a key is durable, with its name, before anything is sealed by it', async (t) => {
  const dir = tempDir(t);
  const synced: string[] = [];
  using ring = await ringIn(dir, {
    sync: async (handle) => {
      synced.push((await handle.stat()).isDirectory() ? 'folder' : 'file');
      await handle.sync();
    },
  });
  synced.length = 0;
  await ring.seal('x', inSegment(0));
  assert.deepEqual(synced, ['file', 'folder', 'file']); // the key, its name, the uses that are taken
  await ring.seal('x', inSegment(0));
  assert.equal(synced.length, 3);
});

for (const [at, what] of [[0, 'the file of a key'], [1, 'its name'], [2, 'the uses that are taken']] as const) {
  test(`EVIDENCE_UNAVAILABLE: where ${what} cannot be made durable nothing is sealed, and later it is`, async (t) => {
    let countdown = Infinity;
    using ring = await ringIn(tempDir(t), {
      sync: async (handle) => {
        if (countdown-- === 0) throw Object.assign(new Error('ENOSPC: no space left on device, fsync'), { code: 'ENOSPC' });
        await handle.sync();
      },
    });
    countdown = at;
    await assert.rejects(ring.seal('x', inSegment(0)), problem('EVIDENCE_UNAVAILABLE', /no space left/));
    countdown = Infinity;
    assert.equal((await ring.unseal(await ring.seal('x', inSegment(0)), ABOUT)).state, 'open');
  });
}

test('EVIDENCE_UNAVAILABLE: on a disk that is full no key is made and nothing is sealed', { skip: process.getuid?.() === 0 ? false : 'needs root: only root can mount a small file system' }, async (t) => {
  const dir = `${tempDir(t)}/small`;
  mkdirSync(dir);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', dir]);
  using mounted = new DisposableStack();
  mounted.defer(() => execFileSync('umount', [dir]));
  using ring = await ringIn(dir);
  const before = await ring.seal('x', inSegment(0));
  assert.throws(() => {
    for (let fill = 0; ; fill += 1) writeFileSync(`${dir}/fill-${fill}`, Buffer.alloc(4096));
  }, { code: 'ENOSPC' });
  await assert.rejects(ring.seal('x', inSegment(1)), problem('EVIDENCE_UNAVAILABLE', /ENOSPC/));
  assert.deepEqual(readdirSync(`${dir}/ring`).filter((name) => name.startsWith('.new-')), []);
  assert.equal((await ring.unseal(before, ABOUT)).state, 'open');
  assert.equal((await ring.seal('y', inSegment(0))).key, before.key); // one that is durable goes on
  assert.ok(readFileSync(`${dir}/ring/${before.key}.key`, 'utf8').endsWith('+'));
});

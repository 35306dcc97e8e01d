import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { asAgent, freshId, opened, AGENT, MIB, SKIP, SMALL } from './given.ts';

test('an agent that fills its workspace gets ENOSPC at the cap, and its neighbour notices nothing', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const [id, neighbour] = [freshId('wsp'), freshId('wsp')];
  await store.create({ id, ...SMALL });
  await store.create({ id: neighbour, ...SMALL });
  const full = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const other = await store.attach(neighbour, { hostUid: AGENT, sandbox: 'sbx-two' });
  const { stdout, stderr } = asAgent(full.path, 'dd if=/dev/zero of=fill bs=64k; stat -c %s fill; sync; echo more >more');
  assert.match(stderr, /No space left on device/);
  const written = Number(stdout.trim());
  assert.ok(written > SMALL.sizeBytes * 0.8 && written < SMALL.sizeBytes, `${written} bytes were written`);
  assert.equal(store.get(id)?.usedBytes !== null && (store.get(id)?.usedBytes ?? 0) <= SMALL.sizeBytes, true);
  assert.ok(statSync(`${options.dir}/pool/images/${id}.0.img`).blocks * 512 <= SMALL.sizeBytes + MIB, 'the image takes no more of the pool than its size');
  assert.equal(asAgent(other.path, 'dd if=/dev/zero of=fill bs=1M count=20 status=none conv=fsync && echo fits').stdout, 'fits\n');
  assert.equal(asAgent(full.path, 'rm fill && echo again >again && sync && cat again').stdout, 'again\n');
});

test('an agent that uses up its inodes gets ENOSPC, and removing files gives them back', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const { path } = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const made = asAgent(path, 'i=0; while true >f$i; do i=$((i+1)); done 2>/dev/null; ls | wc -l');
  const count = Number(made.stdout.trim());
  assert.ok(count >= SMALL.inodes - 1 && count < SMALL.inodes + 128, `${count} files were made`);
  assert.equal(asAgent(path, 'rm f* && echo again >again && cat again').stdout, 'again\n');
});

test('a sparse file of a terabyte costs what is in it: in the pool, in a snapshot and in a comparison', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const [id, layer] = [freshId('wsp'), freshId('lay')];
  await store.create({ id, ...SMALL });
  const { path } = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  assert.equal(asAgent(path, 'truncate -s 1T bomb && echo x >>bomb && cp --sparse=always bomb copy 2>/dev/null; rm -f copy; stat -c %s bomb').stdout, `${1024 ** 4 + 2}\n`);
  await store.snapshot(id, { layer });
  asAgent(path, 'echo y | dd of=bomb bs=1 seek=524288000000 conv=notrunc status=none');
  const startedMs = performance.now();
  assert.deepEqual((await store.diff(layer, id)).changes.map(({ path: name, sizeBytes }) => [name, sizeBytes]), [['bomb', 1024 ** 4 + 2]]);
  assert.ok(performance.now() - startedMs < 20_000);
  assert.ok(statSync(`${options.dir}/pool/images/${id}.0.img`).blocks * 512 < 16 * MIB);
});

test('what an agent deletes is free again in the pool', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const usedBytes = (): number => statSync(`${options.dir}/pool/images/${id}.0.img`).blocks * 512;
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  asAgent(attached.path, 'dd if=/dev/zero of=big bs=1M count=20 status=none conv=fsync');
  const before = usedBytes();
  asAgent(attached.path, 'rm big; sync');
  await attached.detach();
  assert.ok(before - usedBytes() > 15 * MIB, `${before} bytes were used, then ${usedBytes()}`);
});

test('as many sizes as clients ask for leave 64 empty file systems', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const templates = `${options.dir}/pool/templates`;
  const create = async (inodes: number): Promise<string> => (await store.create({ id: freshId('wsp'), sizeBytes: 16 * MIB, inodes, passing: true })).id;
  const sizes = Array.from({ length: 68 }, (_, index) => 16 + index);
  for (const inodes of sizes.slice(0, 60)) await create(inodes);
  await create(16); // asked for again, and so not the first to go
  await Promise.all(sizes.slice(60).map(create));
  const left = readdirSync(templates);
  assert.equal(left.length, 64);
  assert.ok(left.some((name) => name.startsWith(`${16 * MIB}-16-`)), 'what was asked for lately stays');
  assert.ok(!left.some((name) => name.startsWith(`${16 * MIB}-17-`)), 'what was asked for the longest ago goes');
  const again = await create(17);
  assert.equal(readdirSync(templates).length, 64);
  assert.ok((await store.attach(again, { hostUid: AGENT, sandbox: 'sbx-one' })).path.length > 0, 'a size that went is made anew');
  writeFileSync(`${templates}/1-1-1.img.new`, 'what a launcher that died was making');
  await store.collect();
  assert.deepEqual(readdirSync(templates).filter((name) => name.endsWith('.new')), []);
});

test('nothing in a workspace is a device or sets the uid of who runs it, and nobody but its agent enters', SKIP, async () => {
  await using given = await opened();
  const { store, options } = given;
  const id = freshId('wsp');
  await store.create({ id, ...SMALL });
  const { path } = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  const flags = asAgent(path, 'grep " $PWD " /proc/self/mountinfo').stdout;
  for (const flag of ['nosuid', 'nodev', 'noatime', 'idmapped']) assert.ok(flags.includes(flag), `${flag} is missing: ${flags}`);
  assert.equal(statSync(path).uid, AGENT);
  assert.equal(statSync(path).mode & 0o7777, 0o700);
  assert.equal(statSync(options.mounts).mode & 0o7777, 0o711);
});

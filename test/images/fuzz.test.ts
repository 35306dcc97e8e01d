import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { CaissonError } from '@caisson/contract';
import { applyLayer, emptyTree, materialise, measure, tarEntries, type LayerEntry } from '@caisson/images';
import { pax, tar, tarMember, type Member } from './given.ts';

let dir: string;
before(() => {
  dir = mkdtempSync(`${tmpdir()}/caisson-images-fuzz-`);
  mkdirSync(`${dir}/outside/deep`, { recursive: true });
  writeFileSync(`${dir}/outside/secret`, 'secret');
});
after(() => rmSync(dir, { recursive: true, force: true }));

const isRefusal = (error: unknown): boolean => error instanceof CaissonError && error.code === 'IMAGE_INVALID';

/** Few names, so that entries meet: what one makes a link, the next writes through. */
const part = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('a', 'b', 'c', 'etc', '.', '', 'n\nl', '\xff') },
  { weight: 1, arbitrary: fc.constantFrom('..', '.wh.a', '.wh.b', '.wh..wh..opq', '.wh...', '.wh.') },
);
const path = fc.array(part, { minLength: 0, maxLength: 4 }).map((parts) => parts.join('/'));
const target = fc.oneof(path, path.map((text) => `/${text}`), fc.constantFrom('/', '..', '../../outside', '/etc/passwd', '../outside/secret', 'a/../../..'));
const entry = fc.record({
  name: fc.oneof(path, path.map((text) => `/${text}`)),
  kind: fc.constantFrom('file', 'hard-link', 'symbolic-link', 'folder'),
  mode: fc.integer({ min: 0, max: 0o7777 }), mtimeS: fc.integer({ min: 0 }), sizeBytes: fc.constant(0), target,
});
const layers = fc.array(fc.array(entry, { maxLength: 8 }), { minLength: 1, maxLength: 3 });

/** Everything below a folder, without following links. */
function walk(at: string): { readonly files: number; readonly bad: string[] } {
  const bad: string[] = [];
  let files = 0;
  const names = readdirSync(Buffer.from(at, 'latin1'), 'latin1');
  for (const name of names) {
    files++;
    const stat = lstatSync(Buffer.from(`${at}/${name}`, 'latin1'));
    if (!stat.isFile() && !stat.isDirectory() && !stat.isSymbolicLink()) bad.push(name);
    if ((stat.mode & 0o6000) !== 0 && !stat.isSymbolicLink()) bad.push(`${name} has ${stat.mode.toString(8)}`);
    if (!stat.isDirectory()) continue;
    const below = walk(`${at}/${name}`);
    files += below.files;
    bad.push(...below.bad);
  }
  return { files, bad };
}

const outside = (): string => JSON.stringify([readdirSync(dir).filter((name) => !name.startsWith('rootfs') && name !== 'contents').toSorted(), readdirSync(`${dir}/outside`, { recursive: true, encoding: 'utf8' }).map(String).toSorted()]);

test('whatever entries layers have, what is written lies below the root of the image and is the tree', { skip: process.getuid?.() !== 0 && 'needs root to look into folders that forbid it' }, () => {
  const untouched = outside();
  let written = 0;
  fc.assert(fc.property(layers, (all) => {
    rmSync(`${dir}/rootfs`, { recursive: true, force: true });
    rmSync(`${dir}/contents`, { recursive: true, force: true });
    mkdirSync(`${dir}/contents`);
    const root = emptyTree();
    try {
      for (const [index, layer] of all.entries()) {
        applyLayer(root, layer.map((one, at): LayerEntry => {
          const content = index * 100 + at;
          if (one.kind === 'file') writeFileSync(`${dir}/contents/${content}`, '');
          return { ...one, content };
        }));
      }
      materialise(root, { at: `${dir}/rootfs`, contents: `${dir}/contents` });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return;
    }
    written++;
    const { files, bad } = walk(`${dir}/rootfs`);
    assert.deepEqual(bad, []);
    assert.equal(files, measure(root).entries);
    assert.equal(outside(), untouched);
  }), { numRuns: 3_000 });
  assert.ok(written > 300, `${written} of 3000 were written`);
});

test('a root that is there already is not written into, link or folder', () => {
  symlinkSync(`${dir}/outside`, `${dir}/rootfs-link`);
  assert.throws(() => materialise(emptyTree(), { at: `${dir}/rootfs-link`, contents: dir }), { code: 'EEXIST' });
});

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Buffer, size = 512): Promise<{ name: string; kind: string; body: string }[]> {
  const found = [];
  for await (const each of tarEntries(inPieces(bytes, size))) {
    const pieces: Buffer[] = [];
    for await (const piece of each.content) pieces.push(piece);
    found.push({ name: each.name, kind: each.kind, body: Buffer.concat(pieces).toString('latin1') });
  }
  return found;
}

const member = fc.record({ name: fc.stringMatching(/^[a-z/]{1,60}[a-z]$/), body: fc.string({ maxLength: 2_000, unit: 'binary-ascii' }) });

test('a tar is read the same, in whatever pieces it comes', () => fc.assert(fc.asyncProperty(fc.array(member, { maxLength: 6 }), fc.integer({ min: 1, max: 3_000 }), async (members, size) => {
  assert.deepEqual(await readAll(tar(members), size), members.map(({ name, body }) => ({ name, kind: 'file', body })));
}), { numRuns: 300 }));

test('bytes at random, and tars with bytes changed, end in entries or in a refusal, never otherwise', async () => {
  const seed = tar([{ name: 'd/' }, { name: 'd/f', body: 'x'.repeat(700) }, { name: 'l', type: '2', target: 'd' }, pax({ path: 'long', mtime: '1' }), { name: 'g', body: 'y' } satisfies Member, tarMember({ name: 'n', type: 'L', body: 'name\0' }), { name: 'h' }]);
  let refused = 0;
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.integer({ min: 0, max: seed.length - 1 }), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }), fc.boolean(), async (changes, repaired) => {
    const bytes = Buffer.from(seed);
    for (const [at, value] of changes) bytes.writeUInt8(value, at);
    if (repaired) repair(bytes);
    await readAll(bytes).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      refused++;
    });
  }), { numRuns: 3_000 });
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 3_000 }), async (bytes) => {
    await readAll(Buffer.from(bytes)).catch((error: unknown) => assert.ok(isRefusal(error)));
  }), { numRuns: 1_000 });
  assert.ok(refused > 300, `${refused} were refused`);
});

/** Makes the checksum of every block that could be a header right, so that changes reach what lies behind it. */
function repair(bytes: Buffer): void {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    bytes.fill(0x20, at + 148, at + 156);
    const sum = bytes.subarray(at, at + 512).reduce((all, byte) => all + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
}

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { readCheckpoint, removePartialCheckpoints, saveCheckpoint, type CheckpointContent, type CheckpointMaker } from '@caisson/runtime';
import { compile } from '@caisson/isolation';
import { allowed, goodHost, shippedSeccomp } from '../isolation/given.ts';

const FILES = ['checkpoint.img', 'pages_meta.img', 'pages.img'];
const NAMES = [...FILES, 'manifest'];

suite('a checkpoint on the disk', () => {
  const root = mkdtempSync(`${tmpdir()}/caisson-saved-`);
  const maker: CheckpointMaker = { runtime: 'runsc', version: 'release-20260905.0', initSha256: '0'.repeat(64), hostPackages: '1-1' };
  const spec = compile({ id: 'sbx-0123456789abcdef', decision: allowed(), host: goodHost, seccomp: shippedSeccomp });
  assert.ok(!('refused' in spec));
  const lane = { id: 3, isDial: false, hasTty: false, outputBytes: 100, received: { stdout: 7, stderr: 0 }, window: 524_281, stdinRoom: 65_536, stdinEnded: true };
  const content: CheckpointContent = { maker, spec, nextExec: 4, execs: [{ lane, memo: 'a memo', hasOwnLimits: true, wallLeftMs: 1_000, cpuLeftMs: null }] };
  const saved = `${root}/saved`;
  const write = async (partial: string): Promise<CheckpointContent> => {
    for (const [index, name] of FILES.entries()) writeFileSync(`${partial}/${name}`, Buffer.alloc(3_000, index), { mode: 0o644 });
    return content;
  };
  before(() => saveCheckpoint(saved, write));
  after(() => rmSync(root, { recursive: true, force: true }));

  test('is read as it was written, by whoever has the same maker and spec', async () => {
    const { nextExec, execs, sizeBytes } = await readCheckpoint(saved, { maker, spec: { ...spec, id: 'sbx-aaaaaaaaaaaaaaaa', hostname: 'other' } });
    assert.deepEqual({ nextExec, execs, sizeBytes }, { nextExec: 4, execs: content.execs, sizeBytes: 9_000 });
    assert.deepEqual(readdirSync(root), ['saved']);
    assert.deepEqual([saved, ...NAMES.map((name) => `${saved}/${name}`)].map((path) => statSync(path).mode & 0o777), [0o700, 0o600, 0o600, 0o600, 0o600]);
  });

  test('is CHECKPOINT_INVALID after any change of any of its bytes', async () => {
    const copy = `${root}/copy`;
    const change = fc.record({ name: fc.constantFrom(...NAMES), at: fc.nat(), value: fc.integer({ min: 1, max: 255 }), cut: fc.option(fc.nat({ max: 200 })) });
    await fc.assert(fc.asyncProperty(change, async ({ name, at, value, cut }) => {
      cpSync(saved, copy, { recursive: true });
      const bytes = readFileSync(`${copy}/${name}`);
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ value;
      writeFileSync(`${copy}/${name}`, cut === null ? bytes : bytes.subarray(0, bytes.length - cut));
      await assert.rejects(readCheckpoint(copy, { maker, spec }), { code: 'CHECKPOINT_INVALID' });
    }), { numRuns: 150 });
  });

  test('is CHECKPOINT_INVALID for a manifest of any other content, its own digest being right', async () => {
    const { createHash } = await import('node:crypto');
    const copy = `${root}/other`;
    const whole = JSON.parse(readFileSync(`${saved}/manifest`, 'utf8').slice(65)) as Record<string, unknown>;
    const files = whole['files'] as readonly Record<string, unknown>[];
    const others: readonly (readonly [string, unknown])[] = [
      ['no object', []], ['another format', { ...whole, format: 2 }], ['a field more', { ...whole, more: 1 }],
      ['a path for a file', { ...whole, files: files.with(0, { ...files[0], name: '../saved/checkpoint.img' }) }],
      ['a file twice', { ...whole, files: files.with(0, files[1] ?? {}) }],
      ['a file less', { ...whole, files: files.slice(1) }],
      ['no spec', { ...whole, spec: null }],
      ['an exec without a number', { ...whole, execs: [{ ...content.execs[0], lane: { ...lane, id: 0 } }] }],
      ['no JSON', undefined],
    ];
    for (const [what, other] of others) {
      cpSync(saved, copy, { recursive: true });
      const text = other === undefined ? '{' : JSON.stringify(other);
      writeFileSync(`${copy}/manifest`, `${createHash('sha256').update(text).digest('hex')}\n${text}`);
      await assert.rejects(readCheckpoint(copy, { maker, spec }), { code: 'CHECKPOINT_INVALID' }, what);
    }
  });

  test('is CHECKPOINT_FAILED and not there when the runtime fails, writes too little, or the name is taken', async () => {
    const failing = [
      async () => Promise.reject(new Error('the runtime failed')),
      async () => content,
      async (partial: string) => {
        await write(partial);
        rmSync(`${partial}/pages.img`);
        return content;
      },
    ];
    for (const take of failing) await assert.rejects(saveCheckpoint(`${root}/failed`, take), { code: 'CHECKPOINT_FAILED' });
    await assert.rejects(saveCheckpoint(saved, write), { code: 'CHECKPOINT_FAILED' });
    assert.ok(readdirSync(root).every((name) => !name.startsWith('failed')));
  });

  test('has no name before it is whole, and what was begun is removed when asked', async () => {
    const { promise: never, resolve } = Promise.withResolvers<CheckpointContent>();
    const { promise: begun, resolve: begins } = Promise.withResolvers<void>();
    const saving = saveCheckpoint(`${root}/begun`, () => (begins(), never));
    await begun;
    await assert.rejects(saveCheckpoint(`${root}/begun`, write), { code: 'CHECKPOINT_FAILED' });
    assert.ok(!readdirSync(root).includes('begun'));
    await removePartialCheckpoints(root);
    assert.ok(readdirSync(root).every((name) => !name.endsWith('.partial')));
    resolve(content);
    await assert.rejects(saving, { code: 'CHECKPOINT_FAILED' });
    await removePartialCheckpoints(`${root}/nosuchfolder`);
  });
});

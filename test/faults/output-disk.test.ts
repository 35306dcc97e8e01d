import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { Sandbox } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { noSmallDisk, smallDisk, until, type SmallDisk } from './small-disk.ts';

interface Ground extends AsyncDisposable {
  readonly caisson: Caisson;
  readonly disk: SmallDisk;
  readonly open: (level?: Level) => Promise<Sandbox>;
}

/** A whole Caisson that keeps what commands write on a small disk of its own. */
async function ground(size: { readonly inodes?: number } = {}): Promise<Ground> {
  await using opened = new AsyncDisposableStack();
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  opened.defer(() => rmSync(dir, { recursive: true, force: true }));
  const disk = opened.use(smallDisk(`${dir}/journals`, size));
  chownSync(`${dir}/journals`, 65_534, 65_534);
  const caisson = opened.use(await startCaisson({ dir }));
  const open = (level: Level = 'container'): Promise<Sandbox> => Sandbox.create({ level, limits: { workspaceBytes: 2 ** 25 } }, { connection: { socket: caisson.paths.apiSocket } });
  const closing = opened.move();
  return { caisson, disk, open, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

const SAYS_MUCH = ['sh', '-c', 'head -c 1000000 /dev/zero | tr "\\0" x; sleep 60'];

describe('a disk that takes no more of what commands write', { skip: IS_ROOT ? noSmallDisk() : NEEDS_ROOT, concurrency: false }, () => {
  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`OUTPUT_NOT_KEPT: a command whose output cannot be kept ends, and the answer and the log say why (${level})`, async () => {
      await using on = await ground();
      await using box = await on.open(level);
      on.disk.fill();
      const { exit, reason, stdout, ending, evidence } = await box.exec(SAYS_MUCH);
      assert.equal(exit, 125);
      assert.match(reason, /cannot be kept \(ENOSPC\)/);
      assert.equal(ending.kind === 'failed' && ending.code, 'OUTPUT_NOT_KEPT');
      assert.ok(stdout.length > 0 && /^x+$/.test(stdout), 'what it wrote before that is there');
      await until('it is in tiles', async () => { const { published, entries } = await verifyLog(on.caisson.paths.evidence); return published === entries; });
      const outcome = (await Array.fromAsync(readEntries(on.caisson.paths.evidence))).find(({ entry }) => entry.index === evidence.outcome?.index);
      assert.ok(outcome !== undefined);
      assert.deepEqual((outcome.entry.body as { readonly ending: unknown }).ending, ending);

      assert.equal((await box.exec(['echo', 'small'])).stdout, 'small\n', 'what fits in memory goes on');
      on.disk.empty();
      const again = await box.exec(['sh', '-c', 'head -c 1000000 /dev/zero | tr "\\0" y']);
      assert.deepEqual([again.exit, again.stdout.length], [0, 1_000_000], 'nothing has to be started anew');
      assert.deepEqual([(await verifyLog(on.caisson.paths.evidence)).bad], [null]);
      assert.ok((await on.caisson.status()).processes.every(({ restarts }) => restarts === 0));
    });
  }

  test('a sandbox that can keep nothing is refused before it is made, and is made when there is room', async () => {
    await using on = await ground();
    on.disk.fillInodes();
    await assert.rejects(on.open(), ({ code, message }: { code?: string; message: string }) => code === 'OUTPUT_NOT_KEPT' && message.includes('ENOSPC'));
    on.disk.empty();
    await using box = await on.open();
    assert.equal((await box.exec(['echo', 'here'])).stdout, 'here\n');
    await until('nothing is open', async () => (await verifyLog(on.caisson.paths.evidence)).openIntents.join() === box.id);
  });

  test('where it is mounted nobody else comes in, whoever it belonged to; a link there is refused, and nothing behind it is touched', async () => {
    await using on = await ground();
    const { uid, gid, mode } = statSync(`${on.caisson.paths.dir}/journals`);
    assert.deepEqual([uid, gid, mode & 0o777], [process.getuid?.(), process.getgid?.(), 0o700]);

    const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
    try {
      mkdirSync(`${dir}/elsewhere`);
      writeFileSync(`${dir}/elsewhere/mine`, '');
      symlinkSync(`${dir}/elsewhere`, `${dir}/journals`);
      await assert.rejects(startCaisson({ dir }), { code: 'STATE_DIR_INVALID', message: /is a link/ });
      assert.ok(existsSync(`${dir}/elsewhere/mine`));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('a command that has ended by itself keeps its exit and its output, wherever that is', async () => {
    await using on = await ground();
    await using box = await on.open();
    on.disk.fill();
    const { exit, stdout } = await box.exec(['sh', '-c', 'head -c 50000 /dev/zero | tr "\\0" z']);
    assert.deepEqual([exit, stdout.length], [0, 50_000]);
  });
});

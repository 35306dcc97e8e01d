import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { Receipt } from '@caisson/contract';
import { CLOSED_WINDOW, openFileLog, readEntries, verifyLog, type FileLog, type FileLogOptions } from '@caisson/evidence';
import { parseSignerKey, signerOf, signNote } from '@caisson/tlog';
import { diskUnsynced, draft, problem, tempDir, ticking } from './given.ts';

const WRITER = fileURLToPath(import.meta.resolve('./writer.ts'));
type Check = Parameters<NonNullable<FileLogOptions['onPastChecked']>>[0];

/** Opens from the signed state, whatever the size, and waits for the check of the past. */
async function openQuick(dir: string, more: Pick<FileLogOptions, 'disk'> = {}): Promise<{ readonly log: FileLog; readonly checked: Promise<Check> }> {
  const { promise: checked, resolve } = Promise.withResolvers<Check>();
  return { log: await openFileLog({ dir, now: ticking(), readWholeEntries: 0, onPastChecked: resolve, ...more }), checked };
}

/** `calls` calls of which the last is open, in three hundred entries at a time. */
async function write(dir: string, calls: number): Promise<Receipt> {
  await using log = await openFileLog({ dir, now: ticking() });
  const first = ((await log.head())?.index ?? -1) + 1;
  let last: Receipt = { index: -1, hash: '' };
  for (let call = 0; call < calls; call += 150) {
    const subjects = Array.from({ length: Math.min(150, calls - call) }, (_, at) => `sbx-${first}-${call + at}`);
    await Promise.all(subjects.map((subject) => log.append(draft('intent', subject))));
    const outcomes = call + 150 < calls ? subjects : subjects.slice(0, -1);
    for (const receipt of await Promise.all(outcomes.map((subject) => log.append(draft('outcome', subject))))) if (receipt.index > last.index) last = receipt;
  }
  return last;
}

const ledger = (dir: string): string => join(dir, 'ledger');
const folder = (t: TestContext): string => join(tempDir(t), 'evidence');

suite('a scribe that starts from what its key has signed', () => {
  test('knows what it knew: the head, open intents, and receipts of what is repeated', async (t) => {
    const dir = folder(t);
    const head = await write(dir, 400);
    const whole = await openFileLog({ dir, now: ticking() });
    const [openIntents, first] = [await whole.openIntents(), await whole.append(draft('intent', 'sbx-0-0'))];
    await whole[Symbol.asyncDispose]();
    const { log, checked } = await openQuick(dir);
    await using _ = log;
    assert.equal(log.unread, 799);
    assert.deepEqual([await log.head(), await log.openIntents(), await log.append(draft('intent', 'sbx-0-0'))], [head, openIntents, first]);
    assert.deepEqual(openIntents, ['sbx-0-399']);
    assert.deepEqual(await log.append(draft('outcome', 'sbx-0-398')), head);
    assert.deepEqual(await checked, { entries: 799 });
    await assert.rejects(log.append(draft('outcome', 'sbx-none')), problem('REQUEST_INVALID'));
    assert.equal((await log.append(draft('outcome', 'sbx-0-399'))).index, 799);
  });

  test('goes on from any size at which it was killed or closed, as one that reads everything does', async (t) => {
    const dir = folder(t);
    for (const calls of [1, 127, 1, 128, 256, 3, 300]) {
      const last = await write(dir, calls);
      const { log } = await openQuick(dir);
      assert.ok(((await log.head())?.index ?? -1) >= last.index);
      await Promise.all(Array.from({ length: calls }, (_, at) => log.append(draft('lifecycle', `more-${at}`))));
      await log[Symbol.asyncDispose]();
      assert.equal((await verifyLog(dir)).bad, null);
    }
  });

  test('loses nothing that was acknowledged when it is killed and starts so again and again', async (t) => {
    const dir = folder(t);
    let acknowledged = -1;
    for (let round = 0; round < 3; round++) {
      const writer = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
      const exited = once(writer, 'exit');
      let text = '';
      for await (const chunk of writer.stdout) {
        text += String(chunk);
        if (text.split('\n').length > 300) writer.kill('SIGKILL');
      }
      await exited;
      for (const line of text.split('\n').slice(0, -1)) acknowledged = Math.max(acknowledged, Number(line.split(' ')[0]));
      const { log } = await openQuick(dir);
      assert.ok(((await log.head())?.index ?? -1) >= acknowledged);
      const whole = await verifyLog(dir);
      assert.deepEqual([whole.bad, whole.openIntents], [null, await log.openIntents()]);
      await log[Symbol.asyncDispose]();
    }
  });

  test('reads on from an older state of its own, whatever was written since', async (t) => {
    const dir = folder(t);
    await write(dir, 100);
    const old = readFileSync(ledger(dir));
    await write(dir, 600);
    const newest = await verifyLog(dir);
    writeFileSync(ledger(dir), old);
    const { log, checked } = await openQuick(dir);
    await using _ = log;
    assert.deepEqual([await log.head(), await log.openIntents()], [newest.head, newest.openIntents]);
    assert.deepEqual(await checked, { entries: newest.entries });
  });

  test('has the state in a file that nobody else can read', async (t) => {
    const dir = folder(t);
    await write(dir, 2);
    assert.equal(statSync(ledger(dir)).mode & 0o777, 0o600);
  });

  test('remembers as many closed subjects as before', async (t) => {
    const dir = folder(t);
    await write(dir, CLOSED_WINDOW + 10);
    const { log } = await openQuick(dir);
    await using _ = log;
    const before = await log.head();
    await log.append(draft('intent', `sbx-0-${CLOSED_WINDOW}`));
    assert.deepEqual(await log.head(), before);
    assert.notDeepEqual(await log.append(draft('intent', 'sbx-0-0')), before);
  });
});

interface Attack {
  readonly name: string;
  readonly change: (dir: string, other: string) => void | Promise<void>;
  /** How the scribe then starts: by reading everything, or not at all. */
  readonly outcome: 'whole' | RegExp;
}

const noteOf = (dir: string): string => JSON.parse(readFileSync(ledger(dir), 'utf8').split('\n')[0] as string) as string;
const keyOf = (dir: string): ReturnType<typeof signerOf> => signerOf(parseSignerKey(readFileSync(`${dir}-key/log.key`, 'utf8')) as never);
const put = (dir: string, note: string, text: string): void => writeFileSync(ledger(dir), `${JSON.stringify(note)}\n${text}\n`);
const textOf = (dir: string): string => readFileSync(ledger(dir), 'utf8').split('\n')[1] as string;

const attacks: readonly Attack[] = [
  { name: 'that is gone', change: (dir) => rmSync(ledger(dir)), outcome: 'whole' },
  { name: 'that is cut', change: (dir) => writeFileSync(ledger(dir), readFileSync(ledger(dir)).subarray(0, -20)), outcome: 'whole' },
  { name: 'with an open intent taken out', change: (dir) => put(dir, noteOf(dir), textOf(dir).replace(/\["sbx-0-399",\d+\]/, '')), outcome: 'whole' },
  { name: 'of another log', change: (dir, other) => cpSync(ledger(other), ledger(dir)), outcome: 'whole' },
  { name: 'that another key has signed in the name of the log', change: async (dir, other) => {
    const text = noteOf(dir).split('\n\n')[0] as string;
    put(dir, (await signNote(`${text}\n`, [keyOf(other)])), textOf(dir));
  }, outcome: 'whole' },
  { name: 'with the checkpoint in place of its note', change: (dir) => put(dir, readFileSync(join(dir, 'checkpoint'), 'utf8'), textOf(dir)), outcome: 'whole' },
  { name: 'over an edge whose tile was changed', change: (dir) => {
    const path = join(dir, 'tile/0/003.p/31');
    const tile = readFileSync(path);
    tile[5] = (tile[5] as number) ^ 1;
    writeFileSync(path, tile);
  }, outcome: /entry 768: is not what its hash/ },
  { name: 'over an edge whose last entries were changed', change: (dir) => {
    const path = join(dir, 'tile/entries/003.p/31');
    writeFileSync(path, readFileSync(path, 'latin1').replace('"timeMs":1', '"timeMs":2'), 'latin1');
  }, outcome: /entry 768: is not what its hash/ },
  { name: 'newer than the log, whose files were rolled back together', change: (dir) => {
    const newest = readFileSync(ledger(dir));
    rmSync(dir, { recursive: true });
    cpSync(`${dir}-old`, dir, { recursive: true });
    writeFileSync(ledger(dir), newest);
  }, outcome: /entry 199: is missing: the key of the log has signed a state of 799 entries/ },
  { name: 'whose checkpoint is gone', change: (dir) => rmSync(join(dir, 'checkpoint')), outcome: 'whole' },
];

suite('a saved ledger', () => {
  for (const { name, change, outcome } of attacks) {
    test(`${name} is not taken: the scribe ${outcome === 'whole' ? 'reads everything' : 'refuses the log'}`, async (t) => {
      const [dir, other] = [folder(t), folder(t)];
      await write(other, 400);
      await write(dir, 100);
      cpSync(dir, `${dir}-old`, { recursive: true });
      {
        await using log = await openFileLog({ dir, now: ticking() });
        await log.append(draft('outcome', 'sbx-0-99'));
        for (let call = 100; call < 400; call++) void log.append(draft('intent', `sbx-0-${call}`));
        for (let call = 100; call < 399; call++) void log.append(draft('outcome', `sbx-0-${call}`));
      }
      const good = await verifyLog(dir);
      assert.equal(good.entries, 799);
      await change(dir, other);
      if (outcome !== 'whole') return assert.rejects(openFileLog({ dir, now: ticking(), readWholeEntries: 0 }), problem('EVIDENCE_DAMAGED', outcome));
      const { log } = await openQuick(dir);
      await using _ = log;
      assert.deepEqual([log.unread, await log.head(), await log.openIntents()], [0, good.head, good.openIntents]);
    });
  }

  test('with any byte changed is never taken for another: what the scribe knows is what the log says', async (t) => {
    const dir = folder(t);
    await write(dir, 5);
    const good = readFileSync(ledger(dir));
    const { head, openIntents } = await verifyLog(dir);
    await fc.assert(fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
      writeFileSync(ledger(dir), good.map((byte, index) => (index === at ? byte ^ bits : byte)));
      const { log } = await openQuick(dir);
      await using _ = log;
      assert.deepEqual([await log.head(), await log.openIntents()], [head, openIntents]);
    }), { numRuns: 60 });
  });
});

suite('damage in an entry before the state that the scribe starts from', () => {
  const damage = (dir: string): void => {
    const path = join(dir, 'tile/entries/000');
    writeFileSync(path, readFileSync(path, 'latin1').replace('"timeMs":1', '"timeMs":2'), 'latin1');
  };

  test('is found after the start: appends end with EVIDENCE_DAMAGED, and the next start refuses the log', async (t) => {
    const dir = folder(t);
    await write(dir, 400);
    damage(dir);
    const { log, checked } = await openQuick(dir);
    const found = await checked;
    assert.ok('bad' in found && found.bad.index === 0, JSON.stringify(found));
    await assert.rejects(log.append(draft('lifecycle', 'later')), problem('EVIDENCE_DAMAGED', /entry 0: /));
    await log[Symbol.asyncDispose]();
    await assert.rejects(openFileLog({ dir, now: ticking(), readWholeEntries: 0 }), problem('EVIDENCE_DAMAGED', /entry 0: /));
  });

  test('is found by audit verify without a scribe', async (t) => {
    const dir = folder(t);
    await write(dir, 400);
    damage(dir);
    assert.equal((await verifyLog(dir)).bad?.index, 0);
  });

  test('never gives a wrong receipt: a repeated append whose tiles were changed is refused', async (t) => {
    const dir = folder(t);
    await write(dir, 400);
    const path = join(dir, 'tile/0/000');
    writeFileSync(path, readFileSync(path).fill(7, 0, 64));
    const { log } = await openQuick(dir);
    await using _ = log;
    await assert.rejects(log.append(draft('intent', 'sbx-0-1')), problem('EVIDENCE_DAMAGED'));
  });

  test('does not hold up appends while it is looked for', async (t) => {
    const dir = folder(t);
    await write(dir, 3_000);
    const { log, checked } = await openQuick(dir, { disk: diskUnsynced }); // twenty slow syncs could take longer than the check
    await using _ = log;
    let ended = false;
    void checked.then(() => (ended = true));
    for (let at = 0; at < 20; at++) await log.append(draft('lifecycle', `while-${at}`));
    assert.equal(ended, false);
    assert.equal((await Array.fromAsync(readEntries(dir))).length, 6_019);
  });
});

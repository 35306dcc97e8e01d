import assert from 'node:assert/strict';
import { mkdirSync, statSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import type { StatePaths } from '@caisson/contract';
import { openFileLog, openScribe, readEntries, remoteLog, scribeVerbs, verifyLog, type Disk } from '@caisson/evidence';
import { Caller, listenUnix } from '@caisson/wire';
import { diskFailing, diskUnsynced, fitting, problem, tempDir, tempPaths, ticking } from './given.ts';

function runScribe({ evidence, scribeSocket }: StatePaths, { peerGroup }: { readonly peerGroup?: number } = {}): Promise<AsyncDisposable> {
  return openScribe({ dir: evidence, socketPath: scribeSocket, now: ticking(), peerGroup });
}

test('a remote log appends, lists open intents and gives the head of the scribe', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  using log = remoteLog(paths.scribeSocket);
  assert.equal(await log.head(), null);
  const intent = await log.append(fitting('intent', 'sbx-0'));
  assert.equal(intent.index, 0);
  assert.deepEqual(await log.openIntents(), ['sbx-0']);
  assert.deepEqual(await log.append(fitting('intent', 'sbx-0')), intent);
  const outcome = await log.append(fitting('outcome', 'sbx-0'));
  assert.deepEqual(await log.head(), outcome);
  assert.deepEqual(await log.openIntents(), []);
});

test('the socket of the scribe is for its own user, or for the group of its peers', async (t) => {
  const paths = tempPaths(t);
  await (await runScribe(paths))[Symbol.asyncDispose]();
  {
    await using _ = await runScribe(paths);
    assert.equal(statSync(paths.scribeSocket).mode & 0o777, 0o600);
  }
  const group = process.getgid?.() ?? 0;
  await using _ = await runScribe(paths, { peerGroup: group });
  const { mode, gid } = statSync(paths.scribeSocket);
  assert.deepEqual([mode & 0o777, gid], [0o660, group]);
});

test('what the scribe refuses reaches the caller with its code and the field at fault', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  using log = remoteLog(paths.scribeSocket);
  await assert.rejects(log.append(fitting('outcome', 'sbx-0')), problem('REQUEST_INVALID', /sbx-0 has no intent/));
  await assert.rejects(log.append({ ...fitting('intent', 'sbx-0'), extra: 1 } as never), problem('REQUEST_INVALID', /extra/));
  await assert.rejects(log.append(fitting('intent', 'sbx-0', { cpus: 0.5 })), problem('REQUEST_INVALID', /integers only/));
});

test('the scribe has no verb but append, openIntents, head and alerts, and refuses parameters it does not know', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  await using idle = await openFileLog({ dir: tempDir(t), now: ticking() });
  assert.deepEqual(Object.keys(scribeVerbs(idle)).sort(), ['alerts', 'append', 'head', 'openIntents']);
  using caller = new Caller(paths.scribeSocket);
  for (const verb of ['remove', 'truncate', 'constructor', '__proto__']) {
    await assert.rejects(caller.call(verb, {}), problem('FRAME_INVALID', /no verb/));
  }
  for (const parameters of [{ of: 'sbx-0' }, null, 'all', [1]]) {
    await assert.rejects(caller.call('head', parameters), problem('REQUEST_INVALID', /empty object/));
    await assert.rejects(caller.call('alerts', parameters), problem('REQUEST_INVALID', /empty object/));
    await assert.rejects(caller.call('openIntents', parameters), problem('REQUEST_INVALID', /empty object/));
    await assert.rejects(caller.call('append', parameters), problem('REQUEST_INVALID'));
  }
});

test('a peer that sends what is not a call loses its connection, and the others keep theirs', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  using log = remoteLog(paths.scribeSocket);
  await log.append(fitting('intent', 'sbx-0'));
  for (const bytes of [Buffer.alloc(64, 0xff), frame('[]'), frame('null'), frame('{'), frame('{"call":"x","verb":"head"}')]) {
    const peer = connect(paths.scribeSocket);
    peer.write(bytes);
    await new Promise((resolve) => peer.on('close', resolve).resume());
  }
  assert.equal((await log.append(fitting('outcome', 'sbx-0'))).index, 1);
});

function frame(text: string): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(Buffer.byteLength(text), 0);
  return Buffer.concat([header, Buffer.from(text)]);
}

test('a second scribe on the same directory is refused, and the first goes on answering', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  await assert.rejects(runScribe(paths), problem('EVIDENCE_UNAVAILABLE', /another scribe/));
  using log = remoteLog(paths.scribeSocket);
  assert.equal((await log.append(fitting('intent', 'sbx-0'))).index, 0);
});

test('a scribe that cannot listen gives up the log again', async (t) => {
  const paths = tempPaths(t);
  mkdirSync(paths.scribeSocket, { recursive: true });
  await assert.rejects(runScribe(paths));
  await (await openFileLog({ dir: paths.evidence, now: ticking() }))[Symbol.asyncDispose]();
});

test('calls go on over restarts of the scribe, and no intent or outcome is recorded twice', async (t) => {
  const paths = tempPaths(t);
  using log = remoteLog(paths.scribeSocket);
  let scribe = await runScribe(paths);
  const calls = Array.from({ length: 300 }, async (_, call) => {
    await new Promise((resolve) => setTimeout(resolve, call));
    await log.append(fitting('intent', `sbx-${call}`));
    await log.append(fitting('outcome', `sbx-${call}`));
  });
  for (let restart = 0; restart < 4; restart++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    await scribe[Symbol.asyncDispose]();
    scribe = await runScribe(paths);
  }
  await Promise.all(calls);
  await scribe[Symbol.asyncDispose]();
  const { bad, entries, openIntents } = await verifyLog(paths.evidence);
  assert.deepEqual([bad, entries, openIntents], [null, 600, []]);
});

test('without a scribe every call fails with EVIDENCE_UNAVAILABLE, after the time it was given and not much later', async (t) => {
  const { scribeSocket } = tempPaths(t);
  using log = remoteLog(scribeSocket, { giveUpAfterMs: 200 });
  for (const call of [() => log.append(fitting('intent', 'sbx-0')), () => log.head(), () => log.openIntents()]) {
    const startMs = performance.now();
    await assert.rejects(call(), problem('EVIDENCE_UNAVAILABLE', /no scribe answers at/));
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= 195 && tookMs < 2000, `${tookMs} ms`);
  }
});

test('a remote log that is disposed ends its calls at once', async (t) => {
  const { scribeSocket } = tempPaths(t);
  const log = remoteLog(scribeSocket, { giveUpAfterMs: 60_000 });
  const append = log.append(fitting('intent', 'sbx-0'));
  setTimeout(() => log[Symbol.dispose](), 50);
  await assert.rejects(append, problem('EVIDENCE_UNAVAILABLE', /closed/));
  await assert.rejects(log.head(), problem('EVIDENCE_UNAVAILABLE', /closed/));
});

test('an answer that is not a receipt is refused', async (t) => {
  const { scribeSocket } = tempPaths(t);
  mkdirSync(dirname(scribeSocket), { recursive: true });
  await using _ = await listenUnix(scribeSocket, {}, (socket) => {
    let call = 0;
    socket.on('data', () => socket.write(frame(JSON.stringify({ call: call++, ok: { index: 0, hash: 'yes' } }))));
  });
  using log = remoteLog(scribeSocket);
  await assert.rejects(log.append(fitting('intent', 'sbx-0')), problem('FRAME_INVALID', /not a receipt/));
  await assert.rejects(log.head(), problem('FRAME_INVALID', /not a receipt/));
  await assert.rejects(log.openIntents(), problem('FRAME_INVALID', /not a list/));
});

test('an entry that is told again, because its answer was lost, is in the log once', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  using caller = new Caller(paths.scribeSocket);
  const told = { ...fitting('lifecycle', 'sbx-0'), origin: { run: 'a'.repeat(32), seq: 1 } };
  const [first, again] = await Promise.all([caller.call('append', told), caller.call('append', told)]);
  assert.deepEqual(again, first);
  assert.deepEqual(await caller.call('append', told), first);
  assert.equal(((await caller.call('append', { ...told, origin: { ...told.origin, seq: 2 } })) as { index: number }).index, 1);
});

test('an entry that is told again to a scribe that was started anew is in the log once', async (t) => {
  const paths = tempPaths(t);
  const told = { ...fitting('lifecycle', 'sbx-0'), origin: { run: 'a'.repeat(32), seq: 7 } };
  const append = async (): Promise<unknown> => {
    await using _ = await runScribe(paths);
    using caller = new Caller(paths.scribeSocket);
    return await caller.call('append', told);
  };
  assert.deepEqual(await append(), await append());
});

test('a heartbeat says up to where all is settled, and what was refused', async (t) => {
  const paths = tempPaths(t);
  await using _ = await openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: ticking(), disk: diskUnsynced });
  using log = remoteLog(paths.scribeSocket, { heartbeat: { source: 'control', everyMs: 5_000 } });
  await log.append(fitting('intent', 'sbx-0')); // all are told before the first heartbeat, which has a number too
  await log.append(fitting('intent', 'sbx-0'));
  await assert.rejects(log.append(fitting('outcome', 'sbx-1')));
  await log.append(fitting('outcome', 'sbx-0'));
  for (let waits = 0; ; waits++) {
    const entries = (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry);
    const beat = entries.findLast(({ kind }) => kind === 'heartbeat');
    const { settledUpTo, unrecorded } = (beat?.body ?? {}) as { settledUpTo?: number; unrecorded?: number[] };
    if (settledUpTo !== undefined && settledUpTo >= 3) {
      assert.deepEqual(unrecorded, [2]);
      assert.deepEqual(entries.filter(({ kind }) => kind !== 'heartbeat').map(({ origin }) => origin?.seq), [1, 3], 'intent once, outcome; what was refused has no entry');
      assert.equal(new Set(entries.map(({ origin }) => origin?.run)).size, 1);
      return;
    }
    assert.ok(waits < 3_000, 'a heartbeat comes');
    await delay(10);
  }
});

test('what has failed is said at once, when the scribe answers again, so that an end before the next heartbeat leaves no gap without a word', async (t) => {
  const paths = tempPaths(t);
  await using _ = await runScribe(paths);
  using log = remoteLog(paths.scribeSocket, { heartbeat: { source: 'control', everyMs: 600_000 } });
  await assert.rejects(log.append(fitting('outcome', 'sbx-1')));
  await log.append(fitting('intent', 'sbx-0'));
  for (let waits = 0; (await Array.fromAsync(readEntries(paths.evidence))).length < 2; waits++) {
    assert.ok(waits < 2_000, 'a heartbeat comes');
    await delay(10);
  }
  const [, beat] = (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry);
  assert.deepEqual([beat?.kind, beat?.body], ['heartbeat', { settledUpTo: 2, unrecorded: [1], unrecordedCount: 1 }]);
  assert.deepEqual((await verifyLog(paths.evidence)).findings, []);
});

test('entries that wait for a scribe come in the order in which they were told, and those that are told meanwhile after them', async (t) => {
  const paths = tempPaths(t);
  using log = remoteLog(paths.scribeSocket);
  const told: Promise<unknown>[] = [];
  for (let at = 0; at < 40; at++) {
    told.push(log.append(fitting('lifecycle', `sbx-${at}`)));
    await delay(5);
  }
  await using _ = await runScribe(paths);
  for (let at = 40; at < 80; at++) {
    told.push(log.append(fitting('lifecycle', `sbx-${at}`)));
    await delay(2);
  }
  await Promise.all(told);
  const seqs = (await Array.fromAsync(readEntries(paths.evidence))).map(({ entry }) => entry.origin?.seq);
  assert.deepEqual(seqs, told.map((_each, at) => at + 1));
});

test('what could not be recorded and is offered again as it was has its number, and is in the log once', async (t) => {
  const paths = tempPaths(t);
  let isFull = true;
  const disk = (file: FileHandle): Disk => {
    const real = diskFailing(file, () => null);
    return { ...real, write: async (bytes, position) => (isFull ? Promise.reject(Object.assign(new Error('ENOSPC: simulated'), { code: 'ENOSPC' })) : real.write(bytes, position)) };
  };
  await using _ = await openScribe({ dir: paths.evidence, socketPath: paths.scribeSocket, now: ticking(), disk });
  using log = remoteLog(paths.scribeSocket, { heartbeat: { source: 'control', everyMs: 60_000 } });
  const over = fitting('lifecycle', 'sbx-0');
  for (let at = 0; at < 3; at++) await assert.rejects(log.append(over), problem('EVIDENCE_UNAVAILABLE', /ENOSPC/));
  isFull = false;
  const first = await log.append(over);
  assert.deepEqual(await log.append(over), first, 'its answer may have been lost');
  const another = await log.append({ ...over });
  assert.notEqual(another.index, first.index, 'what is told as another is another');
  const told = (await Array.fromAsync(readEntries(paths.evidence))).filter(({ entry }) => entry.subject === 'sbx-0').map(({ entry }) => entry.origin?.seq);
  assert.deepEqual(told.slice(0, 1), [1]);
  assert.equal(told.length, 2);
  const { bad, findings } = await verifyLog(paths.evidence);
  assert.deepEqual([bad, findings], [null, []]);
});

import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { auditTail, auditVerify } from '@caisson/cli';
import type { Receipt, StatePaths } from '@caisson/contract';
import { openFileLog } from '@caisson/evidence';
import { formatVerifierKey, generateKey, leafHash, SIGNATURE_TYPE, signerOf } from '@caisson/tlog';
import { draft, logLines, logPath, problem, putLines, tempPaths, ticking, unpublish, writeCalls } from './given.ts';

interface Audited {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

async function verify(paths: StatePaths, options: { readonly head?: string; readonly key?: string; readonly json?: boolean } = {}): Promise<Audited> {
  let out = '';
  let err = '';
  const status = await auditVerify(paths, { json: false, ...options, out: (text) => void (out += text), err: (text) => void (err += text) });
  return { status, out, err };
}

async function tail(paths: StatePaths, options: { readonly lines: number; readonly json?: boolean }): Promise<string> {
  let out = '';
  await auditTail(paths, { follow: false, json: false, ...options, out: (text) => void (out += text) });
  return out;
}

async function given(t: TestContext, calls = 2): Promise<{ paths: StatePaths; head: Receipt }> {
  const paths = tempPaths(t);
  return { paths, head: await writeCalls(paths.evidence, calls) };
}

test('verify says what it checked, gives the head to keep, and says what it does not show', async (t) => {
  const { paths, head } = await given(t);
  const { status, out } = await verify(paths);
  assert.equal(status, 0);
  assert.match(out, /^entries +4 good, each under a head that the key of the log has signed; 4 of them in tiles$/m);
  assert.match(out, new RegExp(`^head +3:${head.hash}$`, 'm'));
  assert.match(out, /^intents +every one checked has its outcome$/m);
  assert.match(out, /^known head +not given; keep the head above on another machine/m);
  for (const said of [/whose key it is/, /missing from the end.*only against a head kept elsewhere/, /times/]) assert.match(out, said);
});

test('verify exits 1 and names the entry when the log is bad', async (t) => {
  const { paths } = await given(t);
  unpublish(paths.evidence);
  putLines(paths.evidence, logLines(paths.evidence).toSpliced(2, 2));
  const { status, out } = await verify(paths);
  assert.equal(status, 1);
  assert.match(out, /^bad +entry 1 says that it is entry 2/m);
  assert.match(out, /^verdict +BAD$/m);
});

test('verify with the head of a log that was cut exits 1, and without it 0', async (t) => {
  const { paths, head } = await given(t);
  const kept = `${head.index}:${head.hash}`;
  assert.equal((await verify(paths, { head: kept })).status, 0);
  unpublish(paths.evidence);
  putLines(paths.evidence, logLines(paths.evidence).slice(0, -2));
  assert.equal((await verify(paths)).status, 0);
  const { status, out } = await verify(paths, { head: kept });
  assert.equal(status, 1);
  assert.match(out, /^known head +MISSING/m);
});

test('verify lists intents without an outcome and bytes after the last entry, which alone are not bad', async (t) => {
  const { paths } = await given(t);
  {
    await using log = await openFileLog({ dir: paths.evidence, now: ticking() });
    await log.append(draft('intent', 'sbx-lost'));
  }
  appendFileSync(logPath(paths.evidence), '{"entry"');
  const { status, out } = await verify(paths);
  assert.equal(status, 0);
  assert.match(out, /^intents +1 has no outcome \(under way, or lost\): sbx-lost$/m);
  assert.match(out, /^end +8 bytes of an entry that is being written, was never acknowledged, or was cut$/m);
});

test('verify ends with 1 when who has the key has left an entry out, and names the first that shows it', async (t) => {
  const paths = tempPaths(t);
  {
    await using log = await openFileLog({ dir: paths.evidence, now: ticking() });
    const run = 'c'.repeat(32);
    for (const seq of [1, 2, 4, 5]) await log.append({ ...draft('lifecycle', `sbx-${seq}`), origin: { run, seq } });
    await log.append({ ...draft('heartbeat', 'control', { settledUpTo: 5, unrecorded: [], unrecordedCount: 0 }), origin: { run, seq: 6 } });
  }
  const { status, out } = await verify(paths);
  assert.equal(status, 1);
  assert.match(out, /^bad +none$/m);
  assert.match(out, /^complete +entry 2 follows what is missing: number 3 of run cccccccc of control is not in the log/m);
  assert.match(out, /^verdict +BAD$/m);
});

test('verify --json gives one object with the same facts', async (t) => {
  const { paths, head } = await given(t);
  const { out } = await verify(paths, { json: true });
  const { notShown, origin, keys, ...facts } = JSON.parse(out) as Record<string, unknown>;
  assert.deepEqual(facts, { verdict: 'good', entries: 4, published: 4, head, openIntents: [], bad: null, findings: [], findingsCount: 0, unread: { count: 4, first: 0 }, unfinishedBytes: 0, knownHead: 'not given', witnessed: null, stamped: null });
  assert.match(origin as string, /^caisson\.local\/[0-9a-f]{32}$/);
  assert.deepEqual(keys, [readFileSync(join(paths.evidence, 'log.vkey'), 'utf8').trim()]);
  assert.equal((notShown as string[]).length, 3);
  unpublish(paths.evidence);
  putLines(paths.evidence, logLines(paths.evidence).slice(2));
  const bad = JSON.parse((await verify(paths, { json: true })).out) as Record<string, unknown>;
  assert.equal(bad['verdict'], 'bad');
  assert.deepEqual(bad['head'], null);
});

test('a head that is not INDEX:HASH is a usage error', async (t) => {
  const { paths, head } = await given(t);
  for (const wrong of ['', '3', head.hash, `3:${head.hash.slice(1)}`, `-1:${head.hash}`, `03:${head.hash}`, `3:${head.hash.toUpperCase()}x`, `99999999999999999999:${head.hash}`]) {
    const { status, out, err } = await verify(paths, { head: wrong });
    assert.deepEqual([status, out], [2, ''], wrong);
    assert.match(err, /^caisson: USAGE: --head .* is not INDEX:HASH.*\nhint: /);
  }
});

test('verify and tail without a log are errors, not good evidence', async (t) => {
  const paths = tempPaths(t);
  await assert.rejects(verify(paths), problem('STATE_DIR_INVALID', /holds no evidence log/));
  await assert.rejects(tail(paths, { lines: 1 }), problem('STATE_DIR_INVALID', /holds no evidence log/));
});

test('tail shows the last entries, one line each', async (t) => {
  const { paths } = await given(t);
  const lines = (await tail(paths, { lines: 2 })).split('\n');
  assert.deepEqual(lines, [
    '2023-11-14T22:13:20.002Z  #2  intent  control  sbx-1  {"command":["true"]}',
    '2023-11-14T22:13:20.003Z  #3  outcome  control  sbx-1  {"exit":1}',
    '',
  ]);
});

test('tail --json gives each entry with the hash of its leaf', async (t) => {
  const { paths } = await given(t);
  const [line, rest] = (await tail(paths, { lines: 1, json: true })).split('\n');
  assert.equal(rest, '');
  const leaf = logLines(paths.evidence)[6] as string;
  assert.equal(line, `{"entry":${leaf},"hash":"${leafHash(Buffer.from(leaf)).toString('hex')}"}`);
});

test('verify by a key that one has tells a log of another key', async (t) => {
  const { paths } = await given(t);
  const own = readFileSync(join(paths.evidence, 'log.vkey'), 'utf8').trim();
  assert.equal((await verify(paths, { key: own })).status, 0);
  assert.equal((await verify(paths, { key: join(paths.evidence, 'log.vkey') })).status, 0);
  const other = formatVerifierKey(signerOf(generateKey('caisson.local/other', SIGNATURE_TYPE.ed25519)).publicKey);
  const { status, out } = await verify(paths, { key: other });
  assert.equal(status, 1);
  assert.match(out, /no signature of a key that is trusted/);
  for (const wrong of ['x', join(paths.evidence, 'none')]) assert.equal((await verify(paths, { key: wrong })).status, 2);
});

test('tail --follow shows entries as they come, until it is stopped', async (t) => {
  const { paths } = await given(t, 1);
  await using log = await openFileLog({ dir: paths.evidence, now: ticking() });
  const stop = new AbortController();
  const seen: string[] = [];
  const following = auditTail(paths, { lines: 1, follow: true, json: false, signal: stop.signal, out: (text) => {
    seen.push(text);
    if (seen.length === 1) void log.append(draft('intent', 'sbx-new'));
    else stop.abort();
  } });
  await following;
  assert.equal(seen.length, 2);
  assert.match(seen.join(''), /#1  outcome .*\n.*#2  intent  control  sbx-new/);
});

test('what an agent puts into an entry cannot drive the terminal, begin a line or reorder it', async (t) => {
  const paths = tempPaths(t);
  const evil = '\u001b[2J\u009b31m\r\n2023 #9 outcome\u202e\u2066\u2028\u200b\u{e0041}\u007f\b\t';
  {
    await using log = await openFileLog({ dir: paths.evidence, now: ticking() });
    await log.append({ kind: 'intent', source: `c${evil}`, subject: evil, body: { [evil]: evil } });
  }
  const { out, status } = await verify(paths);
  assert.equal(status, 0);
  for (const text of [await tail(paths, { lines: 1 }), await tail(paths, { lines: 1, json: true }), out, (await verify(paths, { json: true })).out]) {
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\p{Cf}]/u);
  }
  assert.equal((await tail(paths, { lines: 1 })).split('\n').length, 2);
  const [json] = (await tail(paths, { lines: 1, json: true })).split('\n');
  assert.equal((JSON.parse(json as string) as { entry: { subject: string } }).entry.subject, evil);
});

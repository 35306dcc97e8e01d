import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { canonicalJson, type Entry, type Json } from '@caisson/contract';
import { openFileLog } from '@caisson/evidence';
import { auditView, EVENT_GENESIS, eventView } from '@caisson/projection';
import { leafHash } from '@caisson/tlog';
import { callIntent, folder } from '../projection/given.ts';
import { HOME } from '../harness.ts';
import { audit, busyLog, made, written } from './given.ts';

const LENGTH = 600;
const FORMATS = ['ocsf', 'otlp', 'jsonl'] as const;
const held: { place: ReturnType<typeof folder> | null } = { place: null };
const at = (name: string): string => join(held.place?.path ?? '', name);
const dir = (): string => at('log');

before(async () => {
  held.place = folder();
  await written(dir(), busyLog(LENGTH));
});
after(() => held.place?.[Symbol.dispose]());

async function exported(...args: readonly string[]): Promise<readonly string[]> {
  const { status, stdout, stderr } = await audit('export', '--dir', dir(), ...args);
  assert.equal(status, 0, stderr);
  return stdout.split('\n').slice(0, -1);
}

interface Exported {
  readonly index: number;
  readonly hash: string;
  readonly text: string;
}

type Value = { readonly intValue: string } & { readonly stringValue: string };

/** Where each form has the index of an entry, the hash of its leaf, and the entry. */
const PLACES: Readonly<Record<(typeof FORMATS)[number], (line: string) => Exported>> = {
  jsonl(line) {
    const { entry, hash, index } = JSON.parse(line) as { readonly entry: Json; readonly hash: string; readonly index: number };
    return { index, hash, text: canonicalJson(entry) };
  },
  ocsf(line) {
    const event = JSON.parse(line) as { readonly metadata: { readonly uid: string; readonly sequence: number }; readonly raw_data: string; readonly unmapped: { readonly leaf_hash: string } };
    assert.equal(event.metadata.uid, String(event.metadata.sequence));
    return { index: event.metadata.sequence, hash: event.unmapped.leaf_hash, text: event.raw_data };
  },
  otlp(line) {
    const request = JSON.parse(line) as { readonly resourceLogs: readonly [{ readonly scopeLogs: readonly [{ readonly logRecords: readonly [{ readonly body: Value; readonly attributes: readonly { readonly key: string; readonly value: Value }[] }] }] }] };
    const [record] = request.resourceLogs[0].scopeLogs[0].logRecords;
    const { intValue = '' } = record.attributes.find(({ key }) => key === 'caisson.index')?.value ?? {};
    return { index: Number(intValue), hash: record.attributes.find(({ key }) => key === 'caisson.leaf_hash')?.value.stringValue ?? '', text: record.body.stringValue };
  },
};

for (const format of FORMATS) {
  test(`${format}: every entry has a line with its index, the hash of its leaf and the entry, which that hash is of`, async () => {
    const lines = await exported('--format', format);
    assert.equal(lines.length, LENGTH);
    for (const [index, line] of lines.entries()) {
      const told = PLACES[format](line);
      assert.equal(told.index, index);
      assert.equal(leafHash(Buffer.from(told.text)).toString('hex'), told.hash);
    }
  });

  test(`${format}: what is exported is proven by audit prove`, async () => {
    const told = PLACES[format]((await exported('--format', format, '--from', '300'))[0] ?? '');
    assert.equal((await audit('prove', String(told.index), '--dir', dir(), '--out', at(`${format}.proof`))).status, 0);
    const { status, stdout } = await audit('check-proof', at(`${format}.proof`), '--key', join(dir(), 'log.vkey'));
    assert.equal(status, 0);
    assert.equal(leafHash(Buffer.from(stdout.trimEnd())).toString('hex'), told.hash);
  });

  test(`${format}: an export that goes on with --from is the rest of a whole one, to the byte, and past the end it is empty`, async () => {
    const whole = await exported('--format', format);
    for (const from of [1, 256, LENGTH - 1]) assert.deepEqual(await exported('--format', format, '--from', String(from)), whole.slice(from));
    assert.deepEqual(await exported('--format', format, '--from', String(LENGTH + 5)), []);
  });
}

test('no line of an export can drive a terminal or hold a line break, whatever an agent chose', async () => {
  const log = made();
  const hostile = '\u001b]0;x\u0007\u202e\u2028\n\r\u0085 \u200b`<script>';
  log.add('intent', 'sbx-1', callIntent('a', { program: hostile }));
  await written(at('hostile'), log.entries);
  for (const format of FORMATS) {
    const { stdout } = await audit('export', '--dir', at('hostile'), '--format', format);
    assert.equal(stdout.split('\n').length, 2);
    assert.doesNotMatch(stdout.trimEnd(), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    assert.ok((JSON.parse(PLACES[format](stdout.trimEnd()).text) as { readonly body: { readonly program: string } }).body.program === hostile.normalize('NFC'));
  }
});

async function entries(): Promise<readonly Entry[]> {
  return (await exported('--format', 'jsonl')).map((line) => (JSON.parse(line) as { readonly entry: Entry }).entry);
}

test('--view rynxs has the audit record of each call and exec, and --view events a chain that is the same from any entry on', async () => {
  const all = await entries();
  const records = all.map(auditView).filter((record) => record !== null);
  assert.deepEqual((await exported('--format', 'jsonl', '--view', 'rynxs')).map((line) => JSON.parse(line) as unknown), records);
  const chain = await exported('--format', 'jsonl', '--view', 'events');
  let prev = EVENT_GENESIS;
  for (const [index, entry] of all.entries()) {
    const event = eventView(entry, prev);
    assert.deepEqual(JSON.parse(chain[index] ?? ''), event);
    prev = event.event_hash;
  }
  assert.deepEqual(await exported('--format', 'jsonl', '--view', 'events', '--from', '400'), chain.slice(400));
});

test('tail shows from any entry on, and the same views', async () => {
  const env = { ...process.env, CAISSON_DIR: at('instance') };
  await written(join(at('instance'), 'evidence'), busyLog(50));
  const tail = async (...args: readonly string[]): Promise<readonly string[]> => {
    const child = spawn(join(HOME, 'caisson'), ['audit', 'tail', ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) lines.push(line);
    return lines;
  };
  const indexOf = (line: string): number => (JSON.parse(line) as { readonly entry: Entry }).entry.index;
  assert.deepEqual((await tail('--from', '45', '--json')).map(indexOf), [45, 46, 47, 48, 49]);
  assert.deepEqual((await tail('-n', '3', '--json')).map(indexOf), [47, 48, 49]);
  const chain = await tail('--from', '0', '--view', 'events');
  assert.equal(chain.length, 50);
  assert.deepEqual(await tail('-n', '4', '--view', 'events'), chain.slice(46));
  assert.ok((await tail('--from', '0', '--view', 'rynxs')).every((line) => 'args_sha256' in (JSON.parse(line) as object)));
});

test('an export that follows has every entry once, in order, while the log goes on and its journals change', async () => {
  const path = at('growing');
  const count = 900;
  const pad = 'x'.repeat(16_000); // a journal is followed by another after a few MiB
  await using log = await openFileLog({ dir: path, now: Date.now });
  await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-0', body: { event: 'pause', caller: 'a', at: 0 } });
  const child = spawn(join(HOME, 'caisson'), ['audit', 'export', '--format', 'jsonl', '--follow', '--dir', path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const journals = new Set<string>();
  const writing = (async () => {
    for (let next = 1; next < count; next += 1) {
      await log.append({ kind: 'lifecycle', source: 'control', subject: `sbx-${next}`, body: { event: 'pause', caller: 'a', pad } });
      for (const name of readdirSync(path)) if (name.startsWith('journal-')) journals.add(name);
    }
  })();
  let next = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    assert.equal((JSON.parse(line) as { readonly index: number }).index, next);
    next += 1;
    if (next === count) child.kill('SIGINT');
  }
  await writing;
  assert.equal(next, count);
  assert.equal((child.exitCode ?? (await once(child, 'exit'))[0]), 0);
  assert.ok(journals.size > 1, [...journals].join(' '));
});

test('an export ends with 1 at an entry that is bad, after those before it; a form, view or place that is none is 2', async () => {
  await written(at('bad'), busyLog(LENGTH));
  const bundle = join(at('bad'), 'tile/entries/001');
  writeFileSync(bundle, Buffer.from(readFileSync(bundle).toString('latin1').replace('"index":300,', '"index":301,'), 'latin1'));
  const bad = await audit('export', '--dir', at('bad'), '--format', 'jsonl');
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /EVIDENCE_DAMAGED.*300/);
  assert.equal(bad.stdout.split('\n').length - 1, 300);
  for (const [args, says] of [
    [['--format', 'csv'], /--format csv is none of/],
    [['--format', 'ocsf', '--view', 'rynxs'], /--view rynxs goes with --format jsonl/],
    [['--format', 'jsonl', '--view', 'other'], /neither rynxs nor events/],
    [['--format', 'jsonl', '--from', '-1'], /--from: -1 is not a whole number/],
    [[], /--format/],
  ] as const) {
    const { status, stderr } = await audit('export', '--dir', dir(), ...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, says);
  }
});

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { ocsfEvent, otlpRequest } from '@caisson/cli';
import { canonicalJson, type Entry, type EntryKind, type Json } from '@caisson/contract';
import { leafHash } from '@caisson/tlog';
import { callIntent, denied, ended, execIntent, sandboxIntent } from '../projection/given.ts';
import { HOME } from '../harness.ts';
import { busyLog, made } from './given.ts';

type Line = Parameters<typeof ocsfEvent>[0];

const EXPORTING = { origin: 'caisson.local/test', version: '0.1.0' };
const found = schemas();
const skip = 'missing' in found ? found.missing : false;

function schemas(): { readonly python: string } | { readonly missing: string } {
  try {
    return { python: execFileSync('sh', [`${HOME}/tools/pinned-python.sh`, 'siem-check'], { env: { ...process.env, CAISSON_HOME: HOME }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim() };
  } catch (error) {
    return { missing: `no schemas of OCSF and OTLP: ${String((error as { stderr?: string }).stderr).trim()}` };
  }
}

interface Checked {
  readonly lines: number;
  readonly classes: Readonly<Record<string, number>>;
  readonly records: readonly (readonly [index: number, time: number, severity: number, name: string, body: string])[];
}

function checked(args: readonly string[], values: readonly Json[]): Checked {
  const input = values.map((value) => `${JSON.stringify(value)}\n`).join('');
  const { status, stdout, stderr } = spawnSync((found as { readonly python: string }).python, [`${HOME}/tools/siem-check/check.py`, ...args], { input, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  assert.equal(status, 0, stdout + stderr);
  return JSON.parse(stdout) as Checked;
}

function lineOf(entry: Entry): Line {
  const text = canonicalJson(entry as unknown as Json);
  return { entry, text, hash: leafHash(Buffer.from(text)).toString('hex') };
}

/** Every kind of entry and event, with bodies that are not known among them, beside a log that does a bit of everything. */
function everything(said = 'x'): readonly Entry[] {
  const log = made();
  const place = { host: said, port: 443 };
  log.add('intent', 'sbx-1', callIntent(said, { ...denied, program: said }));
  log.add('intent', 'sbx-2', sandboxIntent(said));
  log.add('intent', 'exe-1', execIntent(said, 'sbx-2'));
  log.add('intent', 'exe-2', { what: 'exec', sandbox: 'sbx-2', caller: said, program: said, request: said, continues: said });
  for (const kind of ['exited', 'signaled', 'timed-out', 'out-of-memory', 'not-started', 'refused', 'failed', 'cancelled', 'closed', 'unknown', said]) log.add('outcome', `o-${log.entries.length}`, ended(kind, { detail: said }));
  for (const event of ['pause', 'resume', 'fork', 'files', 'renew', 'remove-workspace', 'remove-snapshot', 'make-token', 'revoke-token', 'import-image', 'remove-image', 'secret-rotated']) log.add('lifecycle', 'sbx-2', { event, caller: said });
  for (const more of [{ event: 'prepare', level: said }, { event: 'dial', port: 1 }, { event: 'network', rules: [said] }, { event: 'snapshot', layer: said, memory: true }, { event: 'restore', layer: said }, { event: 'secret-revoked', secret: said }, { event: 'approval', approval: said, decision: said }]) log.add('lifecycle', 'sbx-2', { caller: said, ...more });
  log.add('egress', 'sbx-2', { event: 'connect', connection: 1, ...place });
  log.add('egress', 'sbx-2', { event: 'not-connected', connection: 1, host: 'example.com', port: 99_999, detail: said });
  log.add('egress', 'sbx-2', { event: 'closed', connection: 1, bytesOut: 1, bytesIn: 2, cut: said });
  for (const method of ['GET', 'PATCH', said]) log.add('egress', 'sbx-2', { event: 'request', connection: 1, ...place, method, path: said, secrets: [] });
  for (const to of [said, 'example.com:443', `${said}:99999`]) log.add('egress', 'sbx-2', { event: 'refused', what: said, to, rule: said, reason: said });
  log.add('egress', 'sbx-2', { event: 'refused-again', again: [{ more: 3 }], others: 0 });
  log.add('egress', 'sbx-2', { event: 'held', approval: said, ...place, expiresMs: 1 });
  log.add('egress', 'sbx-2', { event: 'dismissed', connections: 1, bytesOut: 1, bytesIn: 1, refused: 1 });
  for (const severity of ['info', 'warning', 'critical', undefined]) log.add('alert', 'scribe', { alert: said, severity, detail: said });
  log.add('heartbeat', 'control', { settledUpTo: 1, unrecorded: [], unrecordedCount: 0 });
  for (const kind of ['intent', 'outcome', 'lifecycle', 'egress', 'alert', 'heartbeat'] satisfies readonly EntryKind[]) log.add(kind, said === '' ? 's' : said, { [said]: said });
  log.add('lifecycle', 'sbx-2', { event: 'pause', caller: said }, { timeMs: 8_640_000_000_000_000 });
  return log.entries;
}

test('every kind of entry is an event of its class that the schema of OCSF accepts, with no field that it has not', { skip }, () => {
  const entries = [...everything(), ...busyLog(300)];
  const { lines, classes } = checked(['ocsf', '1.5.0'], entries.map((entry) => ocsfEvent(lineOf(entry), EXPORTING)));
  assert.equal(lines, entries.length);
  assert.deepEqual(Object.keys(classes).toSorted(), ['0', '1007', '2004', '4001', '4002', '6002', '6003']);
});

test('whatever an agent chose, events are of their class', { skip }, () => {
  const texts = fc.sample(fc.string({ unit: 'binary', maxLength: 60 }).map((text) => text.toWellFormed().normalize('NFC')), { numRuns: 12, seed: 7 });
  const entries = ['', '__proto__', '127.0.0.1:80', ':443', ...texts].flatMap(everything);
  assert.equal(checked(['ocsf', '1.5.0'], entries.map((entry) => ocsfEvent(lineOf(entry), EXPORTING))).lines, entries.length);
  assert.equal(checked(['otlp'], entries.map((entry) => otlpRequest(lineOf(entry), EXPORTING))).lines, entries.length);
});

test('the messages of OTLP read every entry back: its index, time in nanoseconds, severity and its very text', { skip }, () => {
  const lines = everything().map(lineOf);
  const { records } = checked(['otlp'], lines.map((line) => otlpRequest(line, EXPORTING)));
  assert.deepEqual(records.map(([index, , , , body]) => [index, body]), lines.map(({ entry, text }) => [entry.index, text]));
  assert.deepEqual(records.map(([, time]) => BigInt(Math.round(time / 1e6))), lines.map(({ entry }) => (entry.timeMs > 18_446_744_073_709 ? 0n : BigInt(entry.timeMs))));
  const severity = (name: string, at: number): number | undefined => records.filter((record) => record[3] === name)[at]?.[2];
  assert.deepEqual([severity('caisson.intent.call', 0), severity('caisson.intent.sandbox', 0), severity('caisson.egress.refused', 0)], [13, 9, 13]);
  assert.deepEqual([0, 1, 2, 3].map((at) => severity('caisson.alert', at)), [9, 13, 21, 13]);
});

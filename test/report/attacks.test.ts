import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { markdownOf, sectionsOf, textOf } from '@caisson/cli';
import { canonicalJson, type Entry } from '@caisson/contract';
import { callIntent, denied, ended, execIntent, folder, sandboxIntent } from '../projection/given.ts';
import { audit, busyLog, made, reportIn, reportOn, written, type Report } from './given.ts';

const HOSTILE = [
  '`|\n\n# All is well\n\n| a | b |\n', '<script>alert(1)</script>', '[click](javascript:alert(1))', '![x](https://evil.example/p.png)', '\u001b]0;title\u0007\u001b[2J', '\u202egood',
  'https://evil.example', 'www.evil.example', '@admin', '\\', '\\`', '``` x', '~~~', '&lt;b&gt;', '| --- |', '\r\n', '\u2028', '\u0085', '$$x$$', '<!-- ', ' ', '', 'x'.repeat(5_000),
];

/** A log in which an agent chose every text that an agent can. */
function said(text: string): readonly Entry[] {
  const log = made();
  log.add('intent', 'sbx-1', callIntent(text, { program: text, ...denied, decision: { effect: 'deny', rule: text, reason: text } }));
  log.add('outcome', 'sbx-1', ended('refused', { detail: text }));
  log.add('intent', 'sbx-2', sandboxIntent(text, { secrets: [text], network: [text] }));
  log.add('intent', 'exe-1', execIntent(text, 'sbx-2', { program: text }));
  log.add('outcome', 'exe-1', ended('unknown', { detail: text }));
  log.add('egress', 'sbx-2', { event: 'connect', connection: 1, host: text, port: 443 });
  log.add('egress', 'sbx-2', { event: 'refused', what: text, to: text, rule: text, reason: text });
  log.add('lifecycle', 'sbx-2', { event: 'approval', caller: text, approval: text, decision: text });
  log.add('alert', 'scribe', { alert: text, severity: 'warning', detail: text });
  log.add('egress', 'sbx-nowhere', { event: 'refused', what: text, to: text, rule: null, reason: text });
  log.add('heartbeat', 'control', { [text]: text });
  return log.entries;
}

const withoutSpans = (markdown: string): string => markdown.replace(/`[^`\n]+`/g, '`s`');

async function pageOf(text: string): Promise<{ readonly markdown: string; readonly plain: string }> {
  const sections = sectionsOf(await reportOn(said(text)));
  return { markdown: markdownOf(sections), plain: textOf(sections) };
}

async function assertTame(text: string): Promise<void> {
  const [benign, { markdown, plain }] = await Promise.all([pageOf('benign'), pageOf(text)]);
  assert.equal(withoutSpans(markdown), withoutSpans(benign.markdown), JSON.stringify(text));
  for (const [page, lines] of [[markdown, benign.markdown], [plain, benign.plain]] as const) {
    assert.doesNotMatch(page.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, JSON.stringify(text));
    assert.equal(page.split('\n').length, lines.split('\n').length, JSON.stringify(text));
  }
  assert.doesNotMatch(markdown, /[<>&]/);
}

for (const text of HOSTILE) {
  test(`a report is the same page, but for a code span, where an agent chose ${JSON.stringify(text.slice(0, 40))} wherever it can`, () => assertTame(text));
}

test('a report is the same page, but for code spans, whatever text an agent chose', async () => {
  await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), assertTame), { numRuns: 150 });
});

test('an agent that calls itself as a property of every object has is counted as any other', async () => {
  for (const name of ['__proto__', 'constructor', 'toString']) {
    const { agents, secrets } = await reportOn(said(name));
    assert.deepEqual(agents.rows.map(({ agent, denied: refused }) => [agent, refused]), [[name, 1]]);
    assert.deepEqual(secrets.rows.map(({ secret, leases }) => [secret, leases]), [[name, 1]]);
  }
});

test('who floods the record with refusals and names hides neither what was allowed nor the first and the last that were denied', async () => {
  const log = made();
  const deny = (at: number): void => void (log.add('intent', `sbx-d${at}`, callIntent('flood', { ...denied, program: `p${at}` })), log.add('outcome', `sbx-d${at}`, ended('refused')));
  log.add('intent', 'sbx-1', sandboxIntent('flood'));
  for (let at = 0; at < 12_000; at += 1) {
    if (at % 2 === 0) deny(at);
    log.add('egress', 'sbx-1', { event: 'refused', what: 'name', to: `h${at}.example:443`, rule: null, reason: 'no rule' });
  }
  log.add('egress', 'sbx-1', { event: 'connect', connection: 1, host: 'real.example', port: 443 });
  const { denied: listed, network, agents } = await reportOn(log.entries);
  assert.deepEqual(network.allowed.rows.map(({ to }) => to), ['real.example:443']);
  assert.equal(network.refused.rows.length + network.refused.beyond, 12_000);
  assert.ok(network.refused.rows.length <= 4096);
  assert.deepEqual([listed.count, listed.listed.length, listed.listed[0]?.program, listed.listed.at(-1)?.program], [6_000, 200, 'p0', 'p11998']);
  assert.equal(agents.rows[0]?.refused, 12_000);
});

test('a log that was changed makes every form of the report say so, with the entry, and exit with 1', async () => {
  using place = folder();
  const dir = join(place.path, 'log');
  await written(dir, busyLog(600));
  const bundle = join(dir, 'tile/entries/001');
  writeFileSync(bundle, Buffer.from(readFileSync(bundle).toString('latin1').replace('"within-policy"', '"within-p0licy"'), 'latin1'));
  const json = await audit('report', '--dir', dir, '--format', 'json');
  assert.equal(json.status, 1, json.stderr);
  const { verification, period } = JSON.parse(json.stdout) as { readonly verification: { readonly verdict: string; readonly bad: { readonly index: number } }; readonly period: { readonly entries: number } };
  assert.equal(verification.verdict, 'bad');
  assert.ok(verification.bad.index >= 256 && verification.bad.index < 512);
  assert.equal(period.entries, verification.bad.index);
  for (const format of ['md', 'text']) {
    const { status, stdout } = await audit('report', '--dir', dir, '--format', format);
    assert.equal(status, 1);
    assert.match(stdout, /BAD/);
    assert.match(stdout, /THE LOG IS BAD/);
    assert.match(stdout, new RegExp(`first bad entry[ |]+${verification.bad.index}\\b`));
  }
});

test('nothing is counted of entries that were put after the last signed head, or of a log that another key has signed', async () => {
  using place = folder();
  const dir = join(place.path, 'log');
  const other = join(place.path, 'other');
  await written(dir, busyLog(40));
  await written(other, busyLog(41));
  const journal = readdirSync(dir).find((name) => name.startsWith('journal-')) ?? '';
  const forged = canonicalJson({ body: callIntent('forger'), index: 40, kind: 'intent', source: 'control', subject: 'sbx-forged', timeMs: 1 });
  appendFileSync(join(dir, journal), `${forged}\n${JSON.stringify(readFileSync(join(other, 'checkpoint'), 'utf8'))}\n`);
  const { log, period, agents, verification } = await reportIn(dir);
  assert.deepEqual([verification.verdict, verification.bad?.index, period.entries, log.size, log.root], ['bad', 40, 40, 40, null]);
  assert.ok(!agents.rows.some(({ agent }) => agent === 'forger'));
  const { status, stdout } = await audit('report', '--dir', dir, '--key', join(other, 'log.vkey'), '--format', 'json');
  assert.equal(status, 1);
  assert.deepEqual((JSON.parse(stdout) as Report).agents.rows, []);
});

test('an outcome that no intent precedes and numbers that are missing are in the report, and make it bad', async () => {
  const log = made();
  log.add('intent', 'sbx-1', sandboxIntent('a'));
  log.add('lifecycle', 'sbx-none', { event: 'pause', caller: 'a' });
  log.add('egress', 'sbx-1', { event: 'connect', connection: 1, host: 'h', port: 1 }, { origin: { run: 'a'.repeat(32), seq: 9 } });
  const { gaps, verification } = await reportOn(log.entries);
  assert.equal(verification.verdict, 'bad');
  assert.match(gaps.pointers.listed[0]?.why ?? '', /points to no sandbox/);
  assert.deepEqual(gaps.runs.rows.filter(({ missing }) => missing > 0).map(({ source, highest, missing }) => [source, highest, missing]), [['gate', 9, 8]]);
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { AGENT, all, skip, startPlace } from './given.ts';
import type { FileEvent, FilesClient } from '@caisson/files';

/** Events until one fits. */
async function until(events: AsyncIterator<FileEvent>, kind: string, path: string): Promise<readonly string[]> {
  const seen: string[] = [];
  for (;;) {
    const next = await events.next();
    if (next.done === true) throw new Error(`ended after ${seen.join(', ')}`);
    seen.push(`${next.value.kind} ${next.value.path}`);
    if (next.value.kind === kind && next.value.path === path) return seen;
  }
}

const watching = (files: FilesClient, path: string, recursive: boolean, signal?: AbortSignal): AsyncIterator<FileEvent> =>
  files.watch(path, { recursive, ...(signal === undefined ? {} : { signal }) })[Symbol.asyncIterator]();

suite('watching', { skip, timeout: 60_000 }, () => {
  test('what is made, changed and removed is told in its order', async () => {
    await using place = await startPlace();
    const events = watching(place.files, '.', false);
    await place.files.write('a', Buffer.from('1'));
    await until(events, 'created', '/workspace/a');
    writeFileSync(`${place.workspace}/a`, 'longer');
    await until(events, 'changed', '/workspace/a');
    rmSync(`${place.workspace}/a`);
    await until(events, 'removed', '/workspace/a');
    await events.return?.();
  });

  test('directories that are made, moved in and renamed are watched too, and say that something may have been missed', async () => {
    await using place = await startPlace();
    mkdirSync(`${place.workspace}/known/below`, { recursive: true });
    const events = watching(place.files, '/workspace', true);
    await place.files.mkdir('new');
    assert.ok((await until(events, 'overflow', '/workspace/new')).includes('created /workspace/new'));
    writeFileSync(`${place.workspace}/new/f`, 'x');
    await until(events, 'created', '/workspace/new/f');
    renameSync(`${place.workspace}/known`, `${place.workspace}/renamed`);
    await until(events, 'overflow', '/workspace/renamed');
    writeFileSync(`${place.workspace}/renamed/below/f`, 'x');
    await until(events, 'created', '/workspace/renamed/below/f');
    await events.return?.();
  });

  test('ending a watch ends it at once, by return or by signal, and the removal of the directory is told', async () => {
    await using place = await startPlace();
    const waiting = watching(place.files, '.', false);
    const next = waiting.next();
    await waiting.return?.();
    assert.equal((await next).done, true);
    const stop = new AbortController();
    const signalled = watching(place.files, '.', false, stop.signal);
    const last = signalled.next();
    setImmediate(() => stop.abort());
    assert.equal((await last).done, true);
    await place.files.mkdir('gone');
    const events = watching(place.files, 'gone', false);
    await place.files.remove('gone');
    await until(events, 'ended', '/workspace/gone');
    await assert.rejects(watching(place.files, 'none', false).next(), { code: 'FILE_NOT_FOUND' });
  });

  test('a flood that nobody takes ends in an overflow, and the client goes on', async () => {
    await using place = await startPlace();
    const events = watching(place.files, '.', false);
    await place.files.stat('.');
    execFileSync('python3', ['-c', 'import os,sys\nfor i in range(60000):\n  p = "%s/f%d" % (sys.argv[1], i)\n  os.close(os.open(p, os.O_CREAT)); os.unlink(p)', place.workspace]);
    assert.equal((await place.files.stat('.')).type, 'directory');
    await until(events, 'overflow', '/workspace');
    await events.return?.();
  });
});

suite('what a watch cannot tell', { skip, timeout: 60_000 }, () => {
  const claim = 'what cannot be watched, or is too much at once, is an overflow and never silence';
  const soon = (): AbortSignal => AbortSignal.timeout(10_000);

  test(`${claim}: a directory that may be read only later`, async () => {
    await using place = await startPlace();
    const events = watching(place.files, '.', true, soon());
    await place.files.stat('.');
    mkdirSync(`${place.workspace}/d`, { mode: 0 });
    await until(events, 'overflow', '/workspace/d');
    chmodSync(`${place.workspace}/d`, 0o755);
    assert.ok((await until(events, 'overflow', '/workspace/d')).includes('changed /workspace/d'));
    writeFileSync(`${place.workspace}/d/x`, '');
    await until(events, 'created', '/workspace/d/x');
    await events.return?.();
  });

  const unwatchable: readonly (readonly [what: string, path: string, mode: number])[] = [
    ['that may not be read', 'closed', 0],
    ['that may be listed and not entered', 'listed', 0o444],
    ['that is 120 levels down', 'd/'.repeat(120), 0o755],
  ];
  for (const [what, path, mode] of unwatchable) {
    test(`${claim}: a directory ${what} when the watch begins, which is told once, and the rest is watched`, async () => {
      await using place = await startPlace();
      mkdirSync(`${place.workspace}/${path}`, { mode, recursive: true });
      const events = watching(place.files, '.', true, soon());
      await place.files.write('a', Buffer.from('1'));
      await place.files.write('b', Buffer.from('1'));
      const seen = await until(events, 'created', '/workspace/b');
      assert.ok(seen.includes('created /workspace/a'));
      assert.deepEqual([seen[0], seen.filter((event) => event.startsWith('overflow')).length], ['overflow /workspace', 1], seen.join(', '));
      await events.return?.();
    });
  }

  test(`${claim}: events of a long path that are more than a batch, and a path that is too long for one`, async () => {
    await using place = await startPlace();
    const level = 'l'.repeat(250);
    const long = `${place.workspace}/${`${level}/`.repeat(12)}`;
    mkdirSync(long, { recursive: true });
    const events = watching(place.files, '.', true, soon());
    await place.files.stat('.');
    const { pid = 0 } = place.helper.process;
    process.kill(pid, 'SIGSTOP'); // so that it finds all of them at once
    while (!readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T ')) await delay(2);
    const names = Array.from({ length: 40 }, (_, index) => `${long}f${index}`);
    for (const name of names) writeFileSync(name, '');
    process.kill(pid, 'SIGCONT');
    await place.files.write('after', Buffer.from('1'));
    const seen = await until(events, 'created', '/workspace/after');
    const told = seen.filter((event) => event.startsWith('created') && event.includes('/f')).length;
    assert.ok(told < names.length, 'they were more than a batch holds');
    assert.ok(seen.includes('overflow /workspace'), `${told} of ${names.length} were told`);
    await place.files.write('later', Buffer.from('1'));
    await until(events, 'created', '/workspace/later');
    // Made step by step: a system call takes no path of that length.
    execFileSync('python3', ['-c', 'import os,sys\nos.chdir(sys.argv[1])\nfor i in range(5): os.mkdir("m" * 250); os.chdir("m" * 250)', long]);
    await until(events, 'overflow', '/workspace');
    await events.return?.();
    execFileSync('rm', ['-rf', `${place.workspace}/${level}`]); // what goes step by step too
  });
});

suite('searching', { skip, timeout: 60_000 }, () => {
  test('names and lines are found, with their place', async () => {
    await using place = await startPlace();
    const files = { 'src/main.ts': 'import x\nconst answer = 42;\n', 'src/deep/er/util.ts': 'export const answer = 7', 'readme.md': 'the answer', 'src/data.bin': 'answer\0' };
    for (const [name, text] of Object.entries(files)) await place.files.write(name, Buffer.from(text), { createParents: true });
    await place.files.symlink('src/link.ts', 'main.ts');
    const search = async (query: Parameters<FilesClient['search']>[1]): Promise<string[]> =>
      (await all(place.files.search('.', query))).map(({ path, line, column, text }) => `${path.slice('/workspace/'.length)}:${line}:${column}:${text}`).toSorted();
    assert.deepEqual(await search({ content: 'answer' }), ['readme.md:1:5:the answer', 'src/deep/er/util.ts:1:14:export const answer = 7', 'src/main.ts:2:7:const answer = 42;']);
    assert.deepEqual(await search({ content: 'ANSWER', ignoreCase: true, name: '*.md' }), ['readme.md:1:5:the answer']);
    assert.deepEqual(await search({ content: '= [0-9]{2};$', regex: true }), ['src/main.ts:2:7:const answer = 42;'].map((line) => line.replace(':7:', ':14:')));
    assert.deepEqual(await search({ name: '*.ts' }), ['src/deep/er/util.ts:0:0:', 'src/link.ts:0:0:', 'src/main.ts:0:0:']);
    assert.deepEqual(await search({ name: 'src/**/*.ts' }), ['src/deep/er/util.ts:0:0:', 'src/link.ts:0:0:', 'src/main.ts:0:0:']);
    assert.deepEqual(await search({ name: 'src/*.ts' }), ['src/link.ts:0:0:', 'src/main.ts:0:0:']);
    assert.deepEqual(await search({ name: '[!m]ain.ts' }), []);
    assert.equal((await search({ content: 'answer', limit: 2 })).length, 2);
  });

  test('lines across chunks and lines without end are found once each', async () => {
    await using place = await startPlace();
    const lines = Array.from({ length: 30_000 }, (_, index) => (index % 1000 === 0 ? `needle ${index}` : 'x'.repeat(index % 97))).join('\n');
    await place.files.write('lines', Buffer.from(lines));
    await place.files.write('endless', Buffer.from(`${'y'.repeat(1_000_000)}needle`));
    const found = await all(place.files.search('.', { content: 'needle' }));
    assert.deepEqual(found.filter(({ path }) => path.endsWith('lines')).map(({ line, text }) => `${line} ${text}`), Array.from({ length: 30 }, (_, index) => `${index * 1000 + 1} needle ${index * 1000}`));
    assert.equal(found.filter(({ path }) => path.endsWith('endless')).length, 1);
  });

  test('patterns that would be slow are refused, and a hostile file does not make one slow', async () => {
    await using place = await startPlace();
    for (const content of ['(a)\\1', '((a{200}){200}){200}', '(', 'a{999}', `${'('.repeat(40)}a${')'.repeat(40)}`, `${'('.repeat(14)}a${'+)'.repeat(14)}+b`, `${'('.repeat(14)}a${'{1,})'.repeat(14)}b`, '[[:alpha:]', 'a\\']) {
      await assert.rejects(all(place.files.search('.', { content, regex: true })), { code: 'REQUEST_INVALID' }, content);
    }
    await place.files.write('plain', Buffer.from('fo[({+ 12 foobarbar\n'));
    for (const content of ['(foo|bar)+$', '[0-9]{1,3}', '[[({+]+', '[]a[:digit:]]+', '\\[\\(\\{\\+', 'f+o+b+a+r+b+a+r+|((x+)+)+|fo']) {
      assert.equal((await all(place.files.search('.', { content, regex: true }))).length, 1, content);
    }
    for (const query of [{}, { content: 'a\nb' }, { content: 'x'.repeat(2000) }, { content: 'a', limit: 0 }]) {
      assert.throws(() => place.files.search('.', query), { code: 'REQUEST_INVALID' });
    }
    await place.files.write('bait', Buffer.from('a'.repeat(4_000_000)));
    const started = performance.now();
    await all(place.files.search('.', { content: '(a|aa)*b', regex: true, timeoutMs: 1000 })).catch((error: { readonly code: string }) => assert.equal(error.code, 'FILE_TOO_LARGE'));
    await all(place.files.search('.', { name: `${'*a'.repeat(100)}b` }));
    assert.ok(performance.now() - started < 30_000);
  });

  test('FILE_TOO_LARGE: a search whose time is over says so after what it found', async () => {
    await using place = await startPlace();
    for (let count = 0; count < 3; count++) await place.files.write(`f${count}`, Buffer.from('needle\n'.repeat(400_000)), { sync: false });
    let found = 0;
    await assert.rejects(async () => { for await (const match of place.files.search('.', { content: '(n|e)+d(l|e)*$', regex: true, limit: 100_000, timeoutMs: 1 })) found += match.line > 0 ? 1 : 0; }, { code: 'FILE_TOO_LARGE', message: /time/ });
    assert.ok(found < 100_000);
  });

  test('a directory that the agent may not read is passed over', async () => {
    await using place = await startPlace();
    mkdirSync(`${place.workspace}/closed`, { mode: 0o700 });
    await place.files.write('open', Buffer.from('needle'));
    chownSync(`${place.workspace}/open`, AGENT, AGENT);
    assert.equal((await all(place.files.search('.', { content: 'needle' }))).length, 1);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkspaceDiff } from '@caisson/contract';
import { asAgent, freshId, opened, startAsAgent, ended, AGENT, SKIP, MIB, type Opened } from './given.ts';

const ROOMY = { sizeBytes: 128 * MIB, inodes: 16_384 } as const;

/** What a workspace differs in after `before` was made, a snapshot taken and `after` done. */
async function difference({ store }: Opened, before: string, after: string, limit?: number): Promise<WorkspaceDiff> {
  const [id, layer] = [freshId('wsp'), freshId('lay')];
  await store.create({ id, ...ROOMY });
  const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-one' });
  assert.equal(asAgent(attached.path, `set -e; ${before}`).stderr, '');
  await store.snapshot(id, { layer });
  assert.equal(asAgent(attached.path, `set -e; ${after}`).stderr, '');
  const found = await store.diff(layer, id, limit === undefined ? {} : { limit });
  await attached.detach();
  return found;
}

const lines = ({ changes }: WorkspaceDiff): readonly string[] => changes.map(({ kind, type, path }) => `${kind} ${type} ${path}`);

test('rm -rf of everything lists every removal', SKIP, async () => {
  await using given = await opened();
  const found = await difference(given, 'mkdir -p a/b; echo 1 >a/b/c; echo 2 >.hidden; ln -s a l; mkfifo p', 'rm -rf * .hidden');
  assert.deepEqual(lines(found), ['removed file .hidden', 'removed directory a', 'removed directory a/b', 'removed file a/b/c', 'removed symlink l', 'removed fifo p']);
});

test('only what differs is listed: content and mode count, times and rewriting the same do not', SKIP, async () => {
  await using given = await opened();
  const found = await difference(given,
    'echo same >same; echo rewritten >rewritten; echo aaaa >content; echo x >mode; mkdir dir; ln -s one link; echo h >hard',
    'touch -d 2001-01-01 same; echo rewritten >new; mv new rewritten; printf bbbb\\\\n >content; chmod 600 mode; chmod 700 dir; ln -sf two link; ln hard hard2');
  assert.deepEqual(lines(found), ['changed file content', 'changed directory dir', 'added file hard2', 'changed symlink link', 'changed file mode']);
});

test('a file that becomes a folder, or a folder a file, is a removal of all of it and an addition', SKIP, async () => {
  await using given = await opened();
  const found = await difference(given, 'mkdir d; echo 1 >d/in; echo 2 >f', 'rm -r d f; echo 3 >d; mkdir f; echo 4 >f/in');
  assert.deepEqual(lines(found), ['removed directory d', 'added file d', 'removed file d/in', 'removed file f', 'added directory f', 'added file f/in']);
});

test('two forks that write other bytes of the same length at the same moment differ', SKIP, async () => {
  await using given = await opened();
  const { store } = given;
  const [id, layer, a, b] = [freshId('wsp'), freshId('lay'), freshId('wsp'), freshId('wsp')];
  await store.create({ id, ...ROOMY });
  const base = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx-base' });
  asAgent(base.path, 'for i in $(seq 200); do echo ---- >f$i; done');
  await store.snapshot(id, { layer });
  await Promise.all([store.fork(layer, { id: a }), store.fork(layer, { id: b })]);
  const [one, two] = await Promise.all([a, b].map((each) => store.attach(each, { hostUid: AGENT, sandbox: `sbx-${each}` })));
  const fill = (path: string, text: string) => startAsAgent(path, `for i in $(seq 200); do echo ${text} >f$i; done`);
  const writers = [fill(one?.path ?? '', 'aaaa'), fill(two?.path ?? '', 'bbbb')];
  await Promise.all(writers.map(ended));
  assert.equal((await store.diff(a, b)).changes.length, 200);
  assert.equal((await store.diff(layer, a)).changes.length, 200);
});

test('names that are not text come as bytes, and newlines do not make lines', SKIP, async () => {
  await using given = await opened();
  const { changes } = await difference(given, ':', "touch \"$(printf 'new\\nline')\" \"$(printf 'bad\\377name')\" \"$(printf 'sp ace')\"");
  assert.deepEqual(changes.map(({ path }) => path), ['bad\uFFFDname', 'new\nline', 'sp ace']);
  assert.deepEqual(changes.map(({ pathBase64 }) => pathBase64 ?? null), [Buffer.from('bad\xffname', 'latin1').toString('base64'), null, null]);
});

test('trees deeper than a path can say and folders of ten thousand names are compared, up to the limit', SKIP, async () => {
  await using given = await opened();
  const deep = await difference(given, ':', "python3 -c \"import os\nfor i in range(1500):\n os.mkdir('dddddddddd'); os.chdir('dddddddddd')\nopen('end','w').write('x')\"");
  assert.equal(deep.truncated, false);
  assert.equal(deep.changes.length, 1501);
  assert.equal(deep.changes.at(-1)?.path.length, 1500 * 11 + 3);
  const wide = await difference(given, ':', 'seq 10000 | xargs touch', 100);
  assert.equal(wide.truncated, true);
  assert.equal(wide.changes.length, 100);
});

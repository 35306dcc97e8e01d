import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { CaissonError } from '@caisson/contract';
import type { Files, FilesRoom } from '@caisson/daemon';
import { apiInMemory, ask, everything, follow, type Place, type Said } from './given.ts';

type Info = Awaited<ReturnType<Files['stat']>>;

interface Kept {
  bytes: Buffer;
  version: string;
}

/** Files in memory, for claims about the routes alone; what it was asked with is kept. */
function filesInMemory(): FilesRoom & { readonly kept: Map<string, Kept>; readonly helpers: { count: number }; readonly asked: unknown[] } {
  const kept = new Map<string, Kept>();
  const asked: unknown[] = [];
  const helpers = { count: 0 };
  let clock = 1000;
  const info = (named: string | Buffer): Info => {
    const path = String(named);
    const found = kept.get(path);
    if (found === undefined) throw new CaissonError('FILE_NOT_FOUND', { path });
    return { path, type: 'file', sizeBytes: found.bytes.length, mode: 0o644, mtimeMs: 0, version: found.version };
  };
  const put = async (path: string | Buffer, body: AsyncIterable<Buffer>, before: Buffer): Promise<Info> => {
    const chunks = [before];
    for await (const chunk of body) chunks.push(chunk);
    kept.set(String(path), { bytes: Buffer.concat(chunks), version: `v-${++clock}` });
    return info(path);
  };
  const refuse = async (): Promise<never> => {
    throw new CaissonError('FILE_NOT_FOUND', { path: 'x' });
  };
  const client: Files = {
    stat: async (path) => info(path),
    async *list() {
      for (const path of kept.keys()) yield info(path);
    },
    read: async (path, { offset = 0, length = Infinity } = {}) => ({ info: info(path), body: Readable.from([kept.get(String(path))?.bytes.subarray(offset, offset + length) ?? Buffer.alloc(0)]) }),
    write: async (path, body, options) => {
      asked.push(options);
      return put(path, body, Buffer.alloc(0));
    },
    append: async (path, body) => put(path, body, kept.get(String(path))?.bytes ?? Buffer.alloc(0)),
    mkdir: refuse, move: refuse, remove: refuse, chmod: refuse, patch: refuse, unpack: refuse,
    async *watch() {
      yield { kind: 'created', path: '/workspace/a\nb' };
    },
    async *search() {
      for (let line = 1; line < 10; line++) yield { path: 'a', line, column: 1, text: 'x' };
    },
    pack: () => Readable.from([Buffer.from('tar')]),
    async [Symbol.asyncDispose]() {
      helpers.count--;
    },
  };
  return {
    kept, asked, helpers,
    open: async () => {
      helpers.count++;
      return client;
    },
  };
}

async function withFiles(use: (place: Place, files: ReturnType<typeof filesInMemory>) => Promise<void>): Promise<void> {
  const files = filesInMemory();
  await using place = await apiInMemory({ rooms: { files } });
  await ask(place, '/v1/sandboxes', { method: 'POST', body: { name: 'a' } });
  await use(place, files);
  assert.equal(files.helpers.count, 0, 'a helper was left open');
}

const content = (path: string): string => `/v1/sandboxes/a/files/content?path=${encodeURIComponent(path)}`;

test('a file is written, read whole and in part, appended to, and its ETag changes with it', async () => {
  await withFiles(async (place, files) => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 253));
    const put = await ask(place, `${content('x')}&mode=600&parents=true&exclusive=false`, { method: 'PUT', body: bytes });
    assert.deepEqual([put.status, put.json['sizeBytes'], files.asked], [200, 300_000, [{ mode: 0o600, parents: true, exclusive: false }]]);
    const whole = await ask(place, content('x'));
    assert.deepEqual([whole.bytes, whole.headers['content-length'], whole.headers['content-type']], [bytes, '300000', 'application/octet-stream']);
    const range = (header: string, more = {}): Promise<Said> => ask(place, content('x'), { headers: { range: header, ...more } });
    const part = await range('bytes=10-19');
    assert.deepEqual([part.status, part.headers['content-range'], part.bytes], [206, 'bytes 10-19/300000', bytes.subarray(10, 20)]);
    assert.deepEqual((await range('bytes=-5')).bytes, bytes.subarray(-5));
    assert.equal((await range('bytes=0-4', { 'if-range': '"1-1"' })).status, 200);
    const { etag = '' } = whole.headers;
    assert.equal((await ask(place, content('x'), { headers: { 'if-none-match': etag } })).status, 304);
    await ask(place, '/v1/sandboxes/a/files/append?path=x', { method: 'POST', body: Buffer.from('more') });
    assert.notEqual((await ask(place, content('x'))).headers.etag, etag);
    await ask(place, content('x'), { method: 'PUT', body: bytes, headers: { 'if-match': etag } });
    assert.deepEqual(files.asked.at(-1), { expected: { version: 'v-1001' } });
  });
});

test('RANGE_INVALID: a range that the file has not, with the size that it has', async () => {
  await withFiles(async (place) => {
    await ask(place, content('x'), { method: 'PUT', body: Buffer.from('abc') });
    for (const range of ['bytes=3-', 'bytes=2-1', 'bytes=0-1,2-2', 'lines=1-2', 'bytes=-0', 'bytes=-']) {
      const said = await ask(place, content('x'), { headers: { range } });
      assert.deepEqual([said.status, said.json['code'], said.headers['content-range']], [416, 'RANGE_INVALID', 'bytes */3'], range);
    }
  });
});

test('REQUEST_INVALID: a path with a NUL, no path, a path too long, a mode that is none, an If-Match that is none of ours', async () => {
  await withFiles(async (place) => {
    const put = (path: string, headers = {}): Promise<Said> => ask(place, path, { method: 'PUT', body: Buffer.from('x'), headers });
    const at = '/v1/sandboxes/a/files/content';
    for (const query of ['?path=a%00b', '?path=', '', `?path=${'a/'.repeat(2_100)}`, '?path=x&mode=999', '?path=x&mode=0x1', '?path=x&parents=yes', '?path=x&path=y', '?path=%c3%28', '?path=x&pathBase64=eA%3D%3D', '?pathBase64=eA', '?pathBase64=']) {
      assert.equal((await put(`${at}${query}`)).json['code'], 'REQUEST_INVALID', query.slice(0, 40));
    }
    assert.equal((await put(`${at}?path=x`, { 'if-match': '*' })).json['code'], 'REQUEST_INVALID');
  });
});

test('names from a sandbox reach no header and end no event early', async () => {
  await withFiles(async (place) => {
    const name = 'a"\r\nX-Evil: 1\r\n\r\n<b>';
    await ask(place, content(name), { method: 'PUT', body: Buffer.from('x') });
    const { headers } = await ask(place, content(name));
    assert.equal(headers['x-evil'], undefined);
    assert.ok(!JSON.stringify(headers).includes('Evil'));
    const listed = await ask(place, '/v1/sandboxes/a/files/list?path=/workspace');
    assert.equal((listed.json['files'] as Info[])[0]?.path, name);
    using stream = await follow(place, '/v1/sandboxes/a/files/watch?path=/workspace&recursive=true');
    assert.deepEqual((await everything(stream)).map(({ event, data }) => [event, data]), [['change', { kind: 'created', path: '/workspace/a\nb' }]]);
  });
});

test('a listing comes in pages, and a search says when there is more', async () => {
  await withFiles(async (place) => {
    for (let index = 0; index < 7; index++) await ask(place, content(`f${index}`), { method: 'PUT', body: Buffer.from('x') });
    const paths: string[] = [];
    for (let next: unknown = ''; next !== null; ) {
      const page = await ask(place, `/v1/sandboxes/a/files/list?path=.&limit=3${next === '' ? '' : `&cursor=${next as string}`}`);
      paths.push(...(page.json['files'] as Info[]).map(({ path }) => path));
      ({ next } = page.json);
    }
    assert.deepEqual(paths, ['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6']);
    const found = await ask(place, '/v1/sandboxes/a/files/search', { method: 'POST', body: { path: '.', content: 'x', limit: 4 } });
    assert.deepEqual([(found.json['matches'] as unknown[]).length, found.json['truncated']], [4, true]);
    assert.equal((await ask(place, '/v1/sandboxes/a/files/search', { method: 'POST', body: { path: '.' } })).json['code'], 'REQUEST_INVALID');
  });
});

test('FILE_NOT_FOUND: what is not there is a problem, for an archive as well', async () => {
  await withFiles(async (place) => {
    for (const path of [content('no'), '/v1/sandboxes/a/files/stat?path=no', '/v1/sandboxes/a/files/archive?path=no']) {
      const said = await ask(place, path);
      assert.deepEqual([said.status, said.json['code']], [404, 'FILE_NOT_FOUND'], path);
    }
  });
});

test('a file that gets shorter while it is sent breaks the connection: it is never taken for a whole one', async () => {
  await withFiles(async (place, files) => {
    await ask(place, content('x'), { method: 'PUT', body: Buffer.alloc(1000) });
    const open = await files.open('a', { caller: 'x' });
    files.helpers.count--;
    open.read = async (path) => ({ info: { ...(await open.stat(path)), sizeBytes: 2_000 }, body: Readable.from([Buffer.alloc(1_000)]) });
    await assert.rejects(ask(place, content('x')), { code: 'ECONNRESET' });
  });
});

test('an upload that breaks off is not written', async () => {
  await withFiles(async (place, files) => {
    const socket = connect(place.socketPath);
    await once(socket, 'connect');
    socket.write(`PUT ${content('half')} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nonly this`);
    while (files.helpers.count === 0) await new Promise(setImmediate);
    socket.destroy();
    while (files.helpers.count > 0) await new Promise(setImmediate);
    assert.equal(files.kept.has('half'), false);
  });
});

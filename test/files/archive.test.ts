import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { tarEntries } from '@caisson/tar';
import { AGENT, contentOf, skip, startPlace } from './given.ts';

interface Member {
  readonly name: string | Buffer;
  readonly type?: string;
  readonly content?: Buffer | string;
  readonly target?: string;
  readonly mode?: number;
  /** What the header says, where it is not the truth. */
  readonly sizeBytes?: number;
}

/** A tar archive as an attacker would write it: nothing is checked. */
function tar(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(({ name, type = '0', content = '', target = '', mode = 0o644, sizeBytes }) => {
    const body = Buffer.from(content);
    const header = Buffer.alloc(512);
    Buffer.from(name).copy(header, 0, 0, 100);
    header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
    header.write('0000000\0'.repeat(2), 108);
    header.write(`${(sizeBytes ?? body.length).toString(8).padStart(11, '0')}\0`, 124);
    header.write('00000000001\0        ', 136);
    header.write(type, 156);
    header.write(target.slice(0, 100), 157);
    header.write('ustar\u000000', 257);
    header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148);
    return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const streamed = (bytes: Buffer, size = 7001): Readable => Readable.from((function* () { for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size); })(), { objectMode: false });

suite('archives', { skip, timeout: 100_000 }, () => {
  test('what is packed is what GNU tar reads, and unpacks to the same tree', async () => {
    await using place = await startPlace();
    const long = `${'d'.repeat(120)}/${'n'.repeat(200)}`;
    const odd = Buffer.from([0x6f, 0xff, 0x0a]);
    for (const name of ['a', 'b/c', long]) await place.files.write(`tree/${name}`, Buffer.from(`content of ${name}`), { createParents: true, mode: 0o640 });
    await place.files.write(Buffer.concat([Buffer.from('tree/'), odd]), Buffer.alloc(1000, 'odd'));
    await place.files.symlink('tree/link', '/etc/passwd');
    await place.files.mkdir('tree/empty');
    execFileSync('mkfifo', [`${place.workspace}/tree/pipe`]);
    const chunks: Buffer[] = [];
    for await (const chunk of place.files.pack('tree') as AsyncIterable<Buffer>) chunks.push(chunk);
    mkdirSync(`${place.dir}/out`);
    execFileSync('tar', ['-x', '-C', `${place.dir}/out`], { input: Buffer.concat(chunks), stdio: ['pipe', 'inherit', 'inherit'] });
    execFileSync('rm', [`${place.workspace}/tree/pipe`]);
    execFileSync('diff', ['-r', '--no-dereference', `${place.dir}/out`, `${place.workspace}/tree`]);
    const result = await place.files.unpack('copy', streamed(gzipSync(Buffer.concat(chunks))));
    assert.deepEqual({ ...result, bytes: 0 }, { files: 4, directories: 3, links: 1, bytes: 0 });
    execFileSync('diff', ['-r', '--no-dereference', `${place.workspace}/copy`, `${place.workspace}/tree`]);
    assert.equal(statSync(`${place.workspace}/copy/a`).uid, AGENT);
    assert.equal(statSync(`${place.workspace}/copy/a`).mode & 0o7777, 0o640);
  });

  test('what GNU tar writes is read: long names, sparse order, hard links, compressed or not', async () => {
    await using place = await startPlace();
    mkdirSync(`${place.dir}/in/${'x'.repeat(150)}`, { recursive: true });
    writeFileSync(`${place.dir}/in/${'x'.repeat(150)}/f`, 'deep');
    writeFileSync(`${place.dir}/in/one`, 'shared', { mode: 0o4755 });
    execFileSync('ln', [`${place.dir}/in/one`, `${place.dir}/in/two`]);
    for (const [index, flags] of [['--format=gnu'], ['--format=pax'], ['--format=gnu', '-z']].entries()) {
      const archive = execFileSync('tar', [...flags, '-c', '-C', `${place.dir}/in`, '.'], { maxBuffer: 1e8 });
      await place.files.unpack(`to${index}`, streamed(archive));
      execFileSync('diff', ['-r', `${place.dir}/in`, `${place.workspace}/to${index}`]);
      assert.equal(statSync(`${place.workspace}/to${index}/two`).nlink, 2);
      assert.equal(statSync(`${place.workspace}/to${index}/one`).mode & 0o6000, 0, 'no set-uid bit comes out of an archive');
    }
  });

  const ARCHIVES: readonly (readonly [what: string, members: readonly Member[], code?: string])[] = [
    ['an absolute path', [{ name: '/workspace/evil', content: 'x' }]],
    ['a path that leads upwards', [{ name: 'a/../../evil', content: 'x' }]],
    ['a path that leads upwards at its end', [{ name: 'a/..', type: '5' }]],
    ['a device', [{ name: 'null', type: '3' }]],
    ['a block device', [{ name: 'disk', type: '4' }]],
    ['a FIFO', [{ name: 'pipe', type: '6' }]],
    ['a kind that nobody knows', [{ name: 'x', type: 'Z' }]],
    ['a hard link to a host file', [{ name: 'x', type: '1', target: '/etc/passwd' }]],
    ['a hard link upwards', [{ name: 'x', type: '1', target: '../victim' }]],
    ['a hard link to what comes later', [{ name: 'x', type: '1', target: 'y' }, { name: 'y', content: 'later' }]],
    ['a hard link to a link', [{ name: 'l', type: '2', target: '../victim' }, { name: 'x', type: '1', target: 'l' }]],
    ['a file behind a link of the archive', [{ name: 'l', type: '2', target: '/workspace' }, { name: 'l/evil', content: 'x' }], 'FILE_NOT_REGULAR'],
    ['a file behind a chain of links', [{ name: 'l', type: '2', target: 'm' }, { name: 'm', type: '2', target: '..' }, { name: 'l/evil', content: 'x' }], 'FILE_NOT_REGULAR'],
    ['a directory behind a link', [{ name: 'l', type: '2', target: '/proc/self/root' }, { name: 'l/tmp/evil', type: '5' }], 'FILE_NOT_REGULAR'],
    ['a link that becomes a file', [{ name: 'l', type: '2', target: '../victim' }, { name: 'l', content: 'x' }]],
    ['one name twice', [{ name: 'f', content: '1' }, { name: './f', content: '2' }]],
    ['one long name twice', [{ name: 'd/'.repeat(20) + 'f', content: '1' }, { name: './' + 'd/'.repeat(20) + 'f', content: '2' }]],
    ['a file without a name', [{ name: './', content: 'x', type: '0' }, { name: '.', type: '2', target: 'x' }]],
    ['a file that is cut off', [{ name: 'f', content: 'x', sizeBytes: 1_000_000 }]],
    ['a file that promises too much', [{ name: 'f', content: 'x', sizeBytes: 8 * 1024 ** 3 - 1 }], 'FILE_TOO_LARGE'],
  ];

  for (const [what, members, code = 'ARCHIVE_INVALID'] of ARCHIVES) {
    test(`ARCHIVE_INVALID: ${what} is refused, and nothing of the archive stays`, async () => {
      await using place = await startPlace();
      writeFileSync(`${place.dir}/canary`, 'outside');
      await place.files.write('victim', Buffer.from('mine'));
      await assert.rejects(place.files.unpack('new', streamed(tar([{ name: 'first', content: '1' }, ...members]))), { code });
      assert.deepEqual(readdirSync(place.workspace), ['victim']);
      await place.files.mkdir('old');
      await assert.rejects(place.files.unpack('old', streamed(tar([{ name: 'first', content: '1' }, ...members]))), { code, message: /written before/ });
      assert.equal(readFileSync(`${place.workspace}/old/first`, 'utf8'), '1');
      assert.equal(readFileSync(`${place.workspace}/victim`, 'utf8'), 'mine');
      assert.deepEqual(readdirSync(place.workspace).toSorted(), ['old', 'victim']);
      assert.deepEqual(readdirSync(place.dir).toSorted(), ['canary', 'workspace']);
    });
  }

  test('FILE_TOO_LARGE: bombs stop at their limit: entries, depth, bytes and what gzip expands to', async () => {
    await using place = await startPlace();
    const many = tar(Array.from({ length: 50 }, (_, index) => ({ name: `f${index}` })));
    const attempts: readonly (readonly [Buffer, object])[] = [
      [many, { entries: 49 }],
      [tar([{ name: 'd/'.repeat(40), type: '5' }]), { depth: 20 }],
      [tar([{ name: 'a', content: Buffer.alloc(600) }, { name: 'b', content: Buffer.alloc(600) }]), { totalBytes: 1000 }],
      [gzipSync(tar([{ name: 'zeros', content: Buffer.alloc(64 * 1024 * 1024) }])), {}],
      [gzipSync(Buffer.concat([many.subarray(0, -1024), gzipSync(Buffer.alloc(1))])), { entries: 10 }],
    ];
    for (const [archive, limits] of attempts) await assert.rejects(place.files.unpack('new', streamed(archive), limits), { code: 'FILE_TOO_LARGE' });
    assert.deepEqual(readdirSync(place.workspace), []);
    const bomb = gzipSync(Buffer.alloc(128 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    await assert.rejects(place.files.unpack('new', streamed(Buffer.concat(Array.from({ length: 40 }, () => bomb))), {}), (error: { readonly code: string }) => ['FILE_TOO_LARGE', 'ARCHIVE_INVALID'].includes(error.code));
    assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
  });

  test('a link that stands where a file of the archive goes is replaced, and never followed', async () => {
    await using place = await startPlace();
    await place.files.write('victim', Buffer.from('mine'));
    mkdirSync(`${place.workspace}/old`);
    execFileSync('chown', [`${AGENT}`, `${place.workspace}/old`]);
    symlinkSync('../victim', `${place.workspace}/old/f`);
    await assert.rejects(place.files.unpack('old', streamed(tar([{ name: 'f', content: 'archive' }]))), { code: 'FILE_NOT_REGULAR' });
    await place.files.unpack('old', streamed(tar([{ name: 'f', type: '2', target: 'elsewhere' }])));
    assert.equal(readlinkSync(`${place.workspace}/old/f`), 'elsewhere');
    assert.equal((await contentOf(place.files, 'victim')).toString(), 'mine');
    await assert.rejects(place.files.unpack('no-links', streamed(tar([{ name: 'f', type: '2', target: 'x' }])), { links: false }), { code: 'ARCHIVE_INVALID', message: /not taken/ });
    assert.deepEqual(readdirSync(`${place.workspace}/old`), ['f']);
  });

  test('damaged gzip, and bytes that are no archive, are refused', async () => {
    await using place = await startPlace();
    const good = gzipSync(tar([{ name: 'f', content: Buffer.alloc(100_000, 'abc') }]));
    const bad = [good.subarray(0, -20), Buffer.concat([good.subarray(0, 40), Buffer.alloc(40, 0xff), good.subarray(80)]), Buffer.from('hello'), Buffer.alloc(700, 'x')];
    for (const bytes of bad) await assert.rejects(place.files.unpack('new', streamed(bytes)), { code: 'ARCHIVE_INVALID' });
    assert.deepEqual(await place.files.unpack('empty', streamed(Buffer.alloc(0))), { files: 0, directories: 0, links: 0, bytes: 0 });
    assert.deepEqual(readdirSync(place.workspace), ['empty']);
  });

  test('the reader of archives ends for any bytes, in any pieces, with entries or with ARCHIVE_INVALID', async () => {
    const base = tar([{ name: 'a', content: 'x'.repeat(700) }, { name: 'b/', type: '5' }, { name: 'l', type: '2', target: 'a' }, { name: 'p', type: 'x', content: '20 path=renamed/file\n' }, { name: 'c' }, { name: 'L', type: 'L', content: 'long\0' }, { name: 'c' }]);
    const edits = fc.array(fc.tuple(fc.nat(base.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
    await fc.assert(fc.asyncProperty(edits, fc.constantFrom(100, 511, 512, 513, 2000, 9000), fc.boolean(), async (changes, size, isSummed) => {
      const bytes = Buffer.from(base);
      for (const [at, value] of changes) bytes[at] = value;
      // A checksum that is right again lets the other fields through.
      for (let at = 0; isSummed && at + 512 <= bytes.length; at += 512) {
        if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
        bytes.write('        ', at + 148);
        bytes.write(`${bytes.subarray(at, at + 512).reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, at + 148);
      }
      let entries = 0;
      try {
        for await (const entry of tarEntries(streamed(bytes, size))) {
          entries += 1;
          let count = 0;
          for await (const chunk of entry.content) count += chunk.length;
          assert.equal(count, entry.sizeBytes);
        }
      } catch (error) {
        assert.equal((error as { readonly code?: string }).code, 'ARCHIVE_INVALID', String(error));
      }
      assert.ok(entries <= 7);
    }), { numRuns: 1500, seed: 6 });
  });

  test('a directory of the archive cannot lock out what comes after it', async () => {
    await using place = await startPlace();
    await place.files.unpack('new', streamed(tar([{ name: 'd/', type: '5', mode: 0 }, { name: 'd/f', content: 'x' }])));
    assert.equal(lstatSync(`${place.workspace}/new/d`).mode & 0o7777, 0o700);
  });
});

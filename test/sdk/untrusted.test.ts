import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { CaissonError } from '@caisson/sdk';
import fc from 'fast-check';
import { tarHeader } from '@caisson/tar';
import { answering } from './given.ts';

/** One member of an archive that an attacker makes. */
interface Member {
  readonly name: string;
  readonly flag: string;
  readonly target: string;
  readonly content: string;
}

/** A member with whatever kind, name and target the attacker likes; the header's checksum is right. */
function member({ name, flag, target, content }: Member): Buffer {
  const body = Buffer.from(content);
  const header = Buffer.from(tarHeader({ name: Buffer.from(name), kind: 'symbolic-link', target: Buffer.from(target), mode: 0o4777, mtimeS: 0, sizeBytes: flag === '0' ? body.length : 0 }).subarray(-512));
  header.write(flag, 156, 'latin1');
  header.write('        ', 148, 'latin1');
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([header, ...(flag === '0' ? [body, Buffer.alloc((512 - (body.length % 512)) % 512)] : [])]);
}

const archive = (members: readonly Member[]): Buffer => Buffer.concat([...members.map(member), Buffer.alloc(1024)]);

const step = fc.constantFrom('a', 'b', 'c', '..', '.', 'l');
const path = fc.oneof(
  fc.array(step, { minLength: 1, maxLength: 4 }).map((steps) => steps.join('/')),
  fc.constantFrom('/etc/x', 'a//b', '../out', 'a/../../out', 'l/x', '', '/', '..', 'a/', 'a\n/b', '\u00ff'),
);
const hostile = fc.array(fc.record({ name: path, flag: fc.constantFrom('0', '0', '5', '2', '2', '1', '3', '6', 'Z'), target: path, content: fc.constantFrom('', 'x', 'owned') }), { maxLength: 8 });

test('no archive writes outside the folder it is downloaded to, leaves a link out of it, or leaves a part behind', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-hostile-`);
  writeFileSync(`${dir}/out`, 'mine');
  const served: { bytes: Buffer } = { bytes: Buffer.alloc(0) };
  await using place = await answering((_, response) => void response.end(served.bytes));
  const trial = { number: 0 };
  try {
    await fc.assert(fc.asyncProperty(hostile, async (members) => {
      served.bytes = archive(members);
      const target = `${dir}/t${trial.number++}`;
      const failed = await place.box.files.download('/workspace', target).then(() => null, (error: unknown) => error);
      assert.ok(failed === null || (failed instanceof CaissonError && ['ARCHIVE_REFUSED', 'ANSWER_INVALID'].includes(failed.code)), String(failed));
      assert.deepEqual(readdirSync(dir), failed === null ? ['out', target.slice(dir.length + 1)] : ['out']);
      if (failed === null) inside(target);
      rmSync(target, { recursive: true, force: true });
    }), { numRuns: 1_000, seed: 4 });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** Every link below leads to a place below, or to nothing; no file lends rights. */
function inside(root: string): void {
  const real = realpathSync(root);
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const at = `${entry.parentPath}/${entry.name}`;
    assert.equal(lstatSync(at).mode & 0o7000, 0);
    if (entry.isSymbolicLink() && existsSync(at)) assert.ok(`${realpathSync(at)}/`.startsWith(`${real}/`), `${at} → ${readlinkSync(at)}`);
  }
}

test('an archive that is cut off anywhere, or is noise, is refused and leaves nothing', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-cut-`);
  const whole = archive([{ name: 'a', flag: '5', target: '', content: '' }, { name: 'a/f', flag: '0', target: '', content: 'x'.repeat(700) }]);
  const served = { bytes: whole };
  await using place = await answering((_, response) => void response.end(served.bytes));
  try {
    await fc.assert(fc.asyncProperty(fc.oneof(fc.nat(whole.length - 1025).map((length) => whole.subarray(0, length)), fc.uint8Array({ minLength: 1, maxLength: 1500 }).filter((noise) => noise.some((byte) => byte !== 0)).map(Buffer.from)), async (bytes) => {
      served.bytes = bytes;
      await assert.rejects(place.box.files.download('/workspace', `${dir}/t`), CaissonError);
      assert.deepEqual(readdirSync(dir), []);
    }), { numRuns: 200, seed: 5 });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('an archive of more entries or bytes than the limits is refused', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-many-`);
  const bytes = archive(Array.from({ length: 20 }, (_, index) => ({ name: `f${index}`, flag: '0', target: '', content: 'x'.repeat(100) })));
  await using place = await answering((_, response) => void response.end(bytes));
  const tooLarge = (error: unknown): boolean => error instanceof CaissonError && error.code === 'FILE_TOO_LARGE';
  try {
    await assert.rejects(place.box.files.download('/workspace', `${dir}/t`, { maxEntries: 19 }), tooLarge);
    await assert.rejects(place.box.files.download('/workspace', `${dir}/t`, { maxBytes: 1_999 }), tooLarge);
    assert.equal((await place.box.files.download('/workspace', `${dir}/t`, { maxEntries: 20, maxBytes: 2_000 })).files, 20);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

const END = { id: 'exe-1', sandbox: 'sbx-1', state: 'ended', startedMs: 1, endedMs: 2, ending: { kind: 'exited', code: 0 }, exit: 0, reason: 'é', output: null, evidence: { intent: null, outcome: null } };
const eol = fc.constantFrom('\n', '\r\n', '\r');

test('a stream of events says the same however it is cut into pieces and whatever its lines end with', async () => {
  const served = { pieces: [] as readonly Buffer[] };
  await using place = await answering((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (at: number): void => {
      const piece = served.pieces[at];
      if (piece === undefined) response.end();
      else response.write(piece, () => setImmediate(send, at + 1));
    };
    send(0);
  });
  await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), eol, fc.infiniteStream(fc.integer({ min: 1, max: 30 })), async (outputs, end, sizes) => {
    const lines = ['event: started', `data: ${JSON.stringify({ ...END, state: 'running' })}`, ''];
    let offset = 0;
    for (const bytes of outputs) {
      lines.push(': a comment', `id: ${offset + bytes.length}`, 'event: output', `data: ${JSON.stringify({ stream: 'stdout', offset, data: Buffer.from(bytes).toString('base64') })}`, 'unknown', '');
      offset += bytes.length;
    }
    lines.push('event:end', `data:${JSON.stringify(END)}`, '');
    const text = Buffer.from(`\ufeff${lines.map((line) => `${line}${end}`).join('')}`);
    const pieces: Buffer[] = [];
    for (let at = 0; at < text.length; at += pieces.at(-1)?.length ?? 0) pieces.push(text.subarray(at, at + Number(sizes.next().value)));
    served.pieces = pieces;
    const result = await place.box.exec(['true']);
    assert.deepEqual([...result.stdoutBytes], outputs.flatMap((bytes) => [...bytes]));
    assert.deepEqual([result.ok, result.reason], [true, 'é']);
  }), { numRuns: 60, seed: 6 });
});

test('an outcome that is unknown is not ok, whatever else the answer says', async () => {
  for (const odd of [{ ending: { kind: 'unknown', detail: 'lost' }, exit: 'unknown' }, { ending: null, exit: 0 }, { ending: { kind: 'unknown', detail: 'lost' }, exit: 0 }, { ending: { kind: 'exited', code: 0 }, exit: 'unknown' }]) {
    await using place = await answering((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`event: started\ndata: ${JSON.stringify(END)}\n\nevent: end\ndata: ${JSON.stringify({ ...END, ...odd })}\n\n`);
    });
    assert.equal((await place.box.exec(['true'])).ok, false);
    await assert.rejects(place.box.exec(['true'], { check: true }));
  }
});

test('an answer that is not the API of Caisson is said to be none', async () => {
  await using place = await answering((_, response) => void response.writeHead(302, { location: 'http://elsewhere/' }).end('<html>'));
  await assert.rejects(place.box.usage(), (error) => error instanceof CaissonError && error.code === 'ANSWER_INVALID' && error.status === 302);
  await using proxy = await answering((_, response) => void response.writeHead(502).end(JSON.stringify({ code: 'x'.repeat(100_000), detail: 5 })));
  await assert.rejects(proxy.box.usage(), (error) => error instanceof CaissonError && error.code === 'ANSWER_INVALID' && error.status === 502);
});

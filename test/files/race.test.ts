import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, constants, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import type { FilesClient, FilePath } from '@caisson/files';
import { TAR_END, tarHeader, tarPadding } from '@caisson/tar';
import { compile } from '../lane/given.ts';
import { AGENT, skip, startPlace, type Place } from './given.ts';

const TRIALS = 100_000;
const AT_A_TIME = 24;
const SEED = 20_261_123;
/** Stands in every file outside, and is a name there; nothing inside holds it, and no trial asks for it. */
const CANARY = 'canary-6b1f0c';

/** xorshift32: the same seed gives the same trials. */
function randomness(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

type Trial = (files: FilesClient, below: (bound: number) => number) => Promise<unknown>;

const NAMES: readonly (string | Buffer)[] = ['a', 'b', 'c', 'd', 'e', '..', '.', 'a\nb', Buffer.from([0xff, 0xfe]), 'outside', 'secret', 'etc', 'proc/self/root', 'passwd', 'workspace'];

function somePath(below: (bound: number) => number): FilePath {
  const names = Array.from({ length: 1 + Math.min(below(4), below(3)) }, () => NAMES[below(10) < 9 ? below(5) : below(NAMES.length)] ?? 'a');
  const start = below(12) === 0 ? '/' : below(4) === 0 ? '/workspace/' : '';
  return Buffer.concat([Buffer.from(start), ...names.flatMap((name, index) => [Buffer.from(index === 0 ? '' : '/'), Buffer.from(name)])]);
}

async function drained(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const item of items) count += item === undefined ? 0 : 1;
  return count;
}

function hostileTar(below: (bound: number) => number): Readable {
  const names = ['a', 'b/c', 'c/d/e', 'd', '../x', '/etc/x', 'a/../../x', 'a/b'];
  const members = Array.from({ length: 1 + below(5) }, () => {
    const name = Buffer.from(names[below(4) > 0 ? below(4) : below(names.length)] ?? 'a');
    const about = { name, mode: 0o644, mtimeS: 0, sizeBytes: 0 };
    if (below(3) === 0) return tarHeader({ ...about, kind: 'symbolic-link', target: Buffer.from(['..', '/', '../outside', '/workspace/..'][below(4)] ?? '..') });
    if (below(3) === 0) return tarHeader({ ...about, kind: 'folder' });
    return Buffer.concat([tarHeader({ ...about, kind: 'file', sizeBytes: 6 }), Buffer.from('inside'), tarPadding(6)]);
  });
  return Readable.from([Buffer.concat([...members, TAR_END])], { objectMode: false });
}

const QUICK = { sync: false } as const;
const VERBS: Readonly<Record<string, Trial>> = {
  stat: (files, below) => files.stat(somePath(below)),
  read: async (files, below) => drained((await files.read(somePath(below))).body),
  list: (files, below) => drained(files.list(somePath(below), { recursive: below(2) === 0, limit: 40 })),
  write: (files, below) => files.write(somePath(below), Buffer.from('inside'), { ...QUICK, createParents: below(2) === 0 }),
  exclusive: (files, below) => files.write(somePath(below), Buffer.from('inside'), { ...QUICK, exclusive: true }),
  append: (files, below) => files.append(somePath(below), Buffer.from('+'), QUICK),
  mkdir: (files, below) => files.mkdir(somePath(below), { parents: below(2) === 0 }),
  move: (files, below) => files.move(somePath(below), somePath(below), { noReplace: below(2) === 0 }),
  remove: (files, below) => files.remove(somePath(below), { recursive: true }),
  chmod: (files, below) => files.chmod(somePath(below), 0o777),
  symlink: (files, below) => files.symlink(somePath(below), ['..', '/', '../outside', '/proc/self/root'][below(4)] ?? '..'),
  truncate: (files, below) => files.truncate(somePath(below), below(100)),
  search: (files, below) => drained(files.search(somePath(below), { name: '*', content: 'inside', limit: 20 })),
  pack: (files, below) => drained(files.pack(somePath(below))),
  unpack: (files, below) => files.unpack(somePath(below), hostileTar(below), { links: true }),
  patch: (files, below) => {
    const name = ['a', 'b', 'a/b', '../outside/secret'][below(4)] ?? 'a';
    return files.patch('.', `--- ${name}\n+++ ${name}\n@@ -1 +1 @@\n-inside\n\\ No newline\n+inside\n\\ No newline\n`);
  },
};
/** Cheap verbs are tried more often. */
const DRAW = Object.keys(VERBS).flatMap((name) => Array.from({ length: ['search', 'pack', 'unpack', 'patch', 'truncate'].includes(name) ? 1 : 8 }, () => name));
const EXPECTED = /^(FILE_(?!S_)|REQUEST_INVALID|ARCHIVE_INVALID|PATCH_REJECTED)/;

function outsideOf(place: Place): string {
  const dir = `${place.dir}/outside`;
  mkdirSync(`${dir}/${CANARY}`, { recursive: true });
  for (const name of ['a', 'b', 'secret', 'passwd', `${CANARY}/a`]) writeFileSync(`${dir}/${name}`, CANARY);
  // The agent's uid may do everything to them: only that they cannot be reached protects them.
  for (const path of [dir, `${dir}/${CANARY}`, `${dir}/a`, `${dir}/b`, `${dir}/secret`, `${dir}/passwd`, `${dir}/${CANARY}/a`]) chownSync(path, AGENT, AGENT);
  chmodSync(place.dir, 0o777);
  return dir;
}

function picture(dir: string): string {
  const hash = createHash('sha256');
  for (const name of (readdirSync(dir, { recursive: true }) as string[]).toSorted()) {
    const { mode, size, mtimeMs, ino } = lstatSync(`${dir}/${name}`);
    hash.update(JSON.stringify([name, mode, size, mtimeMs, ino]));
    if (lstatSync(`${dir}/${name}`).isFile()) hash.update(readFileSync(`${dir}/${name}`));
  }
  return hash.digest('hex');
}

async function buildRacer(place: Place): Promise<void> {
  await compile(`${place.workspace}/racer`, [`${import.meta.dirname}/racer.c`], ['-O1', '-static']);
  chmodSync(`${place.workspace}/racer`, 0o755);
}

/** The agent sees its workspace and nothing above it, as in a sandbox; what its links say is for others to follow. */
function startRacer(place: Place, outside: string): ChildProcess {
  return spawn('chroot', [`--userspec=${AGENT}:${AGENT}`, place.workspace, '/racer', `${SEED}`, outside], { stdio: 'ignore' });
}

async function stopped(child: ChildProcess): Promise<void> {
  const end = once(child, 'exit');
  child.kill('SIGKILL');
  await end;
}

/** In memory, because names are what is fought over, not the disk. */
const within = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

test('against the same agent, a program that merely joins paths is led outside', { skip, timeout: 240_000 }, async () => {
  await using place = await startPlace({ within });
  const outside = outsideOf(place);
  await buildRacer(place);
  const racer = startRacer(place, outside);
  try {
    const names = ['a/secret', 'b/secret', 'c/a', 'd/secret', 'e/b'];
    const isLed = (name: string): boolean => {
      try {
        return readFileSync(`${place.workspace}/${name}`, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NONBLOCK }).includes(CANARY);
      } catch {
        return false;
      }
    };
    let found = false;
    // By time, not by tries, and without a pause between them: on a busy machine the racer has few turns.
    for (let round = 0, untilMs = Date.now() + 120_000; !found && Date.now() < untilMs; round++) found = isLed(names[round % names.length] ?? '');
    assert.ok(found, 'the trials below would prove nothing');
  } finally {
    await stopped(racer);
  }
});

test(`${TRIALS} randomised calls against an agent that swaps every name for links: nothing outside is read or written`, { skip, timeout: 240_000 }, async (t) => {
  await using place = await startPlace({ within });
  const outside = outsideOf(place);
  await buildRacer(place);
  const before = { outside: picture(outside), above: readdirSync(place.dir), etc: readFileSync('/etc/passwd', 'utf8'), root: readdirSync('/') };
  let tail = Buffer.alloc(0);
  let seen = 0;
  place.helper.socket.prependListener('data', (chunk: Buffer) => {
    const bytes = Buffer.concat([tail, chunk]);
    if (bytes.includes(CANARY)) seen += 1;
    tail = Buffer.from(bytes.subarray(-CANARY.length + 1));
  });
  const racer = startRacer(place, outside);
  const counts = new Map<string, { done: number; refused: number }>(Object.keys(VERBS).map((name) => [name, { done: 0, refused: 0 }]));
  const below = randomness(SEED);
  let left = TRIALS;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const name = DRAW[below(DRAW.length)] ?? 'stat';
      const count = counts.get(name);
      try {
        await VERBS[name]?.(place.files, below);
        if (count !== undefined) count.done += 1;
      } catch (error) {
        const { code = String(error) } = error as { readonly code?: string };
        assert.match(code, EXPECTED, `${name}: ${String(error)}`);
        if (count !== undefined) count.refused += 1;
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  } finally {
    await stopped(racer);
  }
  t.diagnostic(`${Math.round(performance.now() - started)} ms; ${[...counts].map(([name, { done, refused }]) => `${name} ${done}/${done + refused}`).join(', ')}`);
  assert.equal(seen, 0, 'no byte and no name from outside is in any reply');
  assert.deepEqual({ outside: picture(outside), above: readdirSync(place.dir), etc: readFileSync('/etc/passwd', 'utf8'), root: readdirSync('/') }, before);
  for (const [name, { done }] of counts) assert.ok(name === 'patch' || done > 20, `${name} succeeded ${done} times: trials that are all refused prove nothing`);
  execFileSync('chmod', ['-R', 'u+rwX', place.workspace]);
});

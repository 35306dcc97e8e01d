import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { parseDefinition, type ImageDefinition } from '@caisson/images';
import { IS_ROOT, openBench, type Bench } from './given.ts';

const SHIPPED = join(import.meta.dirname, '../../images');
const GOOD: ImageDefinition = { name: 'small', base: 'debian', suite: 'bookworm', packages: ['hostname'], without: ['/usr/share/bash-completion/*', '/usr/bin/hostname'], env: { FOR: 'tests' }, why: 'the smallest that the tests can build' };

let bench: Bench;
before(async () => {
  bench = await openBench();
});
after(() => bench[Symbol.asyncDispose]());

const how = { onProgress: (line: string) => void bench.lines.push(line), signal: AbortSignal.timeout(300_000) };

function reachable(host: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host, port: 80, timeout: 3_000 });
    socket.once('connect', () => done(true)).once('error', () => done(false)).once('timeout', () => done(false));
    socket.once('connect', () => socket.destroy()).once('timeout', () => socket.destroy());
  });
}

async function lacks(): Promise<string | null> {
  if (!IS_ROOT) return 'needs root';
  if (!existsSync('/usr/bin/mmdebstrap')) return 'needs mmdebstrap';
  return (await reachable('deb.debian.org')) ? null : 'deb.debian.org cannot be reached from here';
}

async function possible(t: TestContext): Promise<boolean> {
  const reason = await lacks();
  if (reason !== null) t.skip(reason);
  return reason === null;
}

for (const name of readdirSync(SHIPPED)) {
  test(`the shipped definition ${name} is valid and has the name of its file`, () => {
    assert.equal(`${parseDefinition(readFileSync(join(SHIPPED, name), 'utf8')).name}.json`, name);
  });
}

const REFUSED: readonly (readonly [string, object, RegExp])[] = [
  ['an unknown field', { ...GOOD, run: 'rm -rf /' }, /run|unrecognized/i],
  ['a package that is an option', { ...GOOD, packages: ['--hook=x'] }, /packages/],
  ['a package with a comma, which would be two', { ...GOOD, packages: ['a,b'] }, /packages/],
  ['a suite that is an option', { ...GOOD, suite: '--mode=chrootless' }, /suite/],
  ['a suite that is a path', { ...GOOD, suite: '../x' }, /suite/],
  ['a path outside /usr', { ...GOOD, without: ['/etc/*'] }, /without/],
  ['a path that begins another option', { ...GOOD, without: ['/usr/x --checkpoint-action=exec=sh'] }, /without/],
  ['a variable with a NUL byte', { ...GOOD, env: { A: '\0' } }, /env/],
  ['a name that is a path', { ...GOOD, name: '../x' }, /name/],
  ['no reason', { ...GOOD, why: '' }, /why/],
];
for (const [what, definition, words] of REFUSED) {
  test(`IMAGE_INVALID: a definition with ${what} is refused`, () => {
    assert.throws(() => parseDefinition(JSON.stringify(definition)), { code: 'IMAGE_INVALID', message: words });
  });
}
test('IMAGE_INVALID: a definition that is not JSON is refused', () => assert.throws(() => parseDefinition('{'), { code: 'IMAGE_INVALID' }));

test('an image is built from packages of Debian, with its files and without what is left out', async (t) => {
  if (!(await possible(t))) return;
  const info = await bench.store.build(GOOD, how);
  assert.deepEqual({ name: info.name, source: info.source, env: info.env }, { name: 'small', source: 'built small', env: ['FOR=tests'] });
  const root = bench.store.rootfs(info.digest);
  assert.ok(statSync(`${root}/usr/bin/dpkg`).isFile());
  assert.match(readFileSync(`${root}/var/lib/dpkg/status`, 'utf8'), /^Package: hostname$/m);
  assert.ok(!existsSync(`${root}/usr/bin/hostname`) && !existsSync(`${root}/usr/share/man/man1`));
  assert.ok(info.sizeBytes > 50 * 2 ** 20 && info.sizeBytes < 400 * 2 ** 20, `${info.sizeBytes} bytes`);
  assert.ok(bench.lines.length > 3);
});

test('a build that is given up ends with all its processes and leaves nothing', async (t) => {
  if (!(await possible(t))) return;
  const gone = new AbortController();
  const building = bench.store.build({ ...GOOD, name: 'none' }, { onProgress: (line) => line.includes('extracting') && gone.abort(new Error('given up')), signal: gone.signal });
  await assert.rejects(building, /given up/);
  assert.equal(bench.store.get('none'), null);
  assert.deepEqual(readdirSync(`${bench.dir}/images`).filter((name) => name.startsWith('new-')), []);
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandOf(name).includes(bench.dir));
  assert.deepEqual(processes.map(commandOf), []);
  assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(bench.dir));
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

test('IMAGE_UNAVAILABLE: a release that no source of the host has is refused before anything is fetched', async (t) => {
  if (!IS_ROOT || !existsSync('/usr/bin/mmdebstrap')) return t.skip('needs root and mmdebstrap');
  await assert.rejects(bench.store.build({ ...GOOD, suite: 'nosuchsuite' }, how), { code: 'IMAGE_UNAVAILABLE', message: /nosuchsuite/ });
});

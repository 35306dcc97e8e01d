import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test, type TestContext } from 'node:test';
import type { Sandbox } from '@caisson/sdk';
import { noInternet } from './internet/internet.ts';
import { missing, noProgram, openWorks, PASSWORD, startPostgres, startSshd, type Works } from './works/given.ts';
import { blobSha256, BLOB_BYTES, PORTS } from './works/ports.ts';
import { PACKAGE, SAYS } from './works/sites.ts';

const LEVELS = ['container', 'gvisor'] as const;
const skip = noInternet();
const TIMEOUT_MS = 120_000;
const BLOB = blobSha256();
const HTTP_PROXY = 'http://198.18.0.1:3128';
const SOCKS_PROXY = '198.18.0.1:1080';
const CA = { CURL_CA_BUNDLE: 'ca.pem', GIT_SSL_CAINFO: '/workspace/ca.pem', npm_config_cafile: '/workspace/ca.pem' };
const CURL = ['curl', '--silent', '--show-error', '--fail', '--max-time', '30'];

const held: { works: Works | null } = { works: null };
before(async () => {
  if (skip === false) held.works = await openWorks();
});
after(async () => {
  await held.works?.[Symbol.asyncDispose]();
});

function works(): Works {
  if (held.works === null) throw new Error('there is no Internet');
  return held.works;
}

/** One claim, at each level. */
function claim(title: string, { unless = false }: { readonly unless?: string | false }, prove: (box: Sandbox) => Promise<void>): void {
  for (const level of LEVELS) {
    test(`at level ${level} ${title}`, { skip: skip || unless, timeout: TIMEOUT_MS }, async (t: TestContext) => {
      const box = await works().box(level);
      if (box === null) return t.skip(`level ${level} is not delivered here`);
      await prove(box);
    });
  }
}

/** What a command prints. @throws ExecError with its stderr when it fails */
async function printed(box: Sandbox, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { stdout } = await box.exec(argv, { env: { ...CA, ...env }, timeoutMs: TIMEOUT_MS, check: true });
  return stdout;
}

async function client(box: Sandbox, what: string, port: number, host = 'tcp.example.test'): Promise<unknown> {
  return JSON.parse(await printed(box, ['python3', 'clients.py', what, host, `${port}`]));
}

const python = noProgram('bin/python3');
const curl = noProgram('bin/curl');

claim('nothing names a proxy, and what programs reach they reach by name', {}, async (box) => {
  const names = (await printed(box, ['env'])).split('\n').map((line) => line.split('=')[0] ?? '');
  assert.deepEqual(names.filter((name) => /proxy/i.test(name)), []);
});

claim('curl fetches over HTTPS and HTTP/2, and checks the certificate', { unless: curl }, async (box) => {
  assert.equal(await printed(box, [...CURL, '--cacert', 'ca.pem', 'https://web.example.test/hello'], { CURL_CA_BUNDLE: '' }), SAYS);
  assert.equal(await printed(box, [...CURL, 'https://web.example.test/hello']), SAYS);
  const { version, servername } = JSON.parse(await printed(box, [...CURL, 'https://web.example.test:8443/hello'])) as { version: string; servername: string };
  assert.deepEqual([version, servername], ['2.0', 'web.example.test']);
  const { exit } = await box.exec([...CURL, 'https://web.example.test/hello']);
  assert.equal(exit, 60, 'without the authority curl trusts nobody');
});

claim('git clones over HTTPS, and every object is whole', { unless: noProgram('bin/git') || missing.gitBackend }, async (box) => {
  await printed(box, ['git', 'clone', '--quiet', 'https://git.example.test/works.git', 'works']);
  await printed(box, ['git', '-C', 'works', 'fsck', '--full', '--strict']);
  assert.deepEqual([await printed(box, ['cat', 'works/README']), await printed(box, ['sha256sum', 'works/blob'])], [`${SAYS}\n`, `${works().blobSha256}  works/blob\n`]);
});

claim('pip installs from an index', { unless: python || noProgram('lib/python3/dist-packages/pip') }, async (box) => {
  await printed(box, ['python3', '-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check', '--no-cache-dir', '--cert', 'ca.pem', '--index-url', 'https://pypi.example.test/simple/', '--target', 'lib', PACKAGE]);
  assert.equal(await printed(box, ['python3', '-c', `import ${PACKAGE.replace('-', '_')} as it; print(it.SAYS)`], { PYTHONPATH: 'lib' }), `${SAYS}\n`);
});

claim('npm installs from a registry', { unless: noProgram('bin/npm') || noProgram('bin/node') }, async (box) => {
  await printed(box, ['npm', 'install', '--prefix', '/workspace/app', '--no-audit', '--no-fund', '--no-update-notifier', '--registry', 'https://npm.example.test/', PACKAGE]);
  assert.equal(await printed(box, ['node', '-p', `require('/workspace/app/node_modules/${PACKAGE}')`]), `${SAYS}\n`);
});

test('psql speaks with a PostgreSQL server, which checks the password', { skip: skip || missing.postgres || noProgram('bin/psql'), timeout: TIMEOUT_MS }, async (t) => {
  await using _ = await startPostgres(works());
  for (const level of LEVELS) {
    await t.test(`at level ${level}`, async (sub) => {
      const box = await works().box(level);
      if (box === null) return sub.skip(`level ${level} is not delivered here`);
      const ask = ['psql', '--no-psqlrc', '--tuples-only', '--no-align', '--host', 'db.example.test', '--username', 'works', '--dbname', 'postgres', '--command', "select current_user, length(repeat('x', 1000000)), md5(repeat('x', 1000000))"];
      assert.equal(await printed(box, ask, { PGPASSWORD: PASSWORD }), `works|1000000|${createHash('md5').update('x'.repeat(1_000_000)).digest('hex')}\n`);
      const { exit, stderr } = await box.exec(ask, { env: { PGPASSWORD: 'wrong' } });
      assert.equal(exit, 2);
      assert.match(stderr, /password authentication failed for user "works"/);
    });
  }
});

test('ssh knows the server by its key, and carries stdin and stdout', { skip: skip || missing.sshd || noProgram('bin/ssh'), timeout: TIMEOUT_MS }, async (t) => {
  await using sshd = await startSshd(works());
  for (const level of LEVELS) {
    await t.test(`at level ${level}`, async (sub) => {
      const box = await works().box(level);
      if (box === null) return sub.skip(`level ${level} is not delivered here`);
      await box.files.write('key', sshd.key, { mode: 0o600 });
      await box.files.write('known_hosts', sshd.knownHosts);
      const input = Buffer.alloc(3_000_000, 'ssh ');
      const { stdout, stderr } = await box.exec(['ssh', '-i', 'key', '-o', 'BatchMode=yes', '-o', 'UserKnownHostsFile=known_hosts', '-o', 'StrictHostKeyChecking=yes', 'root@ssh.example.test', 'sha256sum'], { stdin: input, timeoutMs: TIMEOUT_MS });
      assert.equal(stdout, `${createHash('sha256').update(input).digest('hex')}  -\n`, stderr);
    });
  }
});

claim('programs that insist on a proxy have one: http_proxy, https_proxy and SOCKS5', { unless: curl }, async (box) => {
  const via = [...CURL, '--output', 'said', '--write-out', '%{remote_ip}:%{remote_port} %{http_code}'];
  const plain = { path: '/by-proxy', headers: { host: 'web.example.test' } };
  const said = async (): Promise<unknown> => JSON.parse(await printed(box, ['cat', 'said']));
  for (const [url, env, flags, place] of [
    ['http://web.example.test/by-proxy', { http_proxy: HTTP_PROXY }, [], '198.18.0.1:3128'],
    ['https://web.example.test:8443/by-proxy', { https_proxy: HTTP_PROXY }, [], '198.18.0.1:3128'],
    ['http://web.example.test/by-proxy', {}, ['--socks5-hostname', SOCKS_PROXY], SOCKS_PROXY],
    ['https://web.example.test:8443/by-proxy', {}, ['--socks5-hostname', SOCKS_PROXY], SOCKS_PROXY],
  ] as const) {
    assert.equal(await printed(box, [...via, ...flags, url], env), `${place} 200`);
    assert.partialDeepStrictEqual(await said(), url.startsWith('https') ? { path: plain.path, servername: 'web.example.test' } : plain);
  }
});

claim('a WebSocket opens through protocol http and carries frames both ways', { unless: python }, async (box) => {
  assert.deepEqual(await client(box, 'web-socket', PORTS.webSocket, 'ws.example.test'), { status: 'HTTP/1.1 101 Switching Protocols', accepted: true, frames: [[0x81, true], [0x81, true]] });
});

claim('100 MB come down as they were sent, from a server that ends first', { unless: python }, async (box) => {
  assert.deepEqual(await client(box, 'download', PORTS.blob), { sha256: BLOB, bytes: BLOB_BYTES });
});

claim('100 MB go up as they were sent', { unless: python }, async (box) => {
  const { sent, said } = (await client(box, 'upload', PORTS.digest)) as { sent: string; said: string };
  assert.match(sent, / 100000000\n$/);
  assert.equal(said, sent);
});

claim('200 connections at once carry each its own', { unless: python }, async (box) => {
  assert.deepEqual(await client(box, 'many', PORTS.echo), Array.from({ length: 200 }, (_, index) => `${index}`.padStart(6, '0')));
});

claim('a client that has ended its half still reads the answer', { unless: python }, async (box) => {
  assert.equal(await client(box, 'half-close', PORTS.digest), `${createHash('sha256').update('all that I say').digest('hex')} 14\n`);
});

claim('what a client sends after the server has ended its half still arrives', { unless: python }, async (box) => {
  assert.equal(await client(box, 'server-first', PORTS.serverFirst), 'first\n');
  assert.equal(await works().saidToServerFirst(), 'after your end');
});

claim('a connection that was silent for 5 s goes on', { unless: python }, async (box) => {
  assert.deepEqual(await client(box, 'idle', PORTS.echo), ['before', 'after']);
});

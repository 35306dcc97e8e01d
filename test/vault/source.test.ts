import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CANARY, files, GROUND, inKv, json, kvAnswer, kvServer, look } from './given.ts';

/** Whether a process is there and has not ended. */
function isRunning(pid: string): boolean {
  try {
    return !/ Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('a variable of the environment is taken as it was, and one that was not set is refused', async () => {
  assert.equal(await look('env:API_KEY'), CANARY);
  assert.match(await look('env:NONE'), /^refused: the variable was not set/);
  assert.match(await look('env:__proto__'), /^refused: the variable was not set/);
});

test('a file gives its text without one line break at the end, and a link is followed', async () => {
  using given = files();
  for (const [content, value] of [['v', 'v'], ['v\n', 'v'], ['v\r\n', 'v'], [' v ', ' v '], ['ünï', 'ünï']] as const) {
    assert.equal(await look(`file:/${given.file('secret', content).slice(1)}`), value);
  }
  symlinkSync(`${given.dir}/secret`, `${given.dir}/link`);
  assert.equal(await look(`file:/${given.dir.slice(1)}/link`), 'ünï');
});

test('a value that is empty, too long or no text of one line is refused, whatever it came from', async () => {
  using given = files();
  const bad: readonly (readonly [content: string | Buffer, why: RegExp])[] = [
    ['', /it is empty/], ['\n', /it is empty/], ['\r\n', /it is empty/],
    [`${CANARY}\n\n`, /line break/], [`${CANARY}\r\nX-Evil: 1`, /line break/], [`a\r${CANARY}`, /line break/], [`${CANARY}\0`, /control/], [`${CANARY}\u007f`, /control/], [`\u001b[0m${CANARY}`, /control/],
    [Buffer.from([0x61, 0xff, 0xfe]), /not text in UTF-8/],
    ['x'.repeat(65_537), /longer than 65536 bytes/], ['x'.repeat(1_000_000), /longer than 65536 bytes/],
  ];
  for (const [content, why] of bad) {
    assert.match(await look(`file:/${given.file('secret', content).slice(1)}`), why);
    assert.match(await look({ exec: ['/bin/cat', `${given.dir}/secret`] }), new RegExp(`${why.source}|prints more than`));
    const text = content.toString();
    if (typeof content === 'string') assert.match(await look('env:API_KEY', { env: { API_KEY: text } }), why);
  }
  assert.equal((await look(`file:/${given.file('secret', `${'x'.repeat(65_536)}\r\n`).slice(1)}`)).length, 65_536);
  assert.equal((await look({ exec: ['/bin/cat', `${given.dir}/secret`] })).length, 65_536);
});

test('a file that others can write, a folder, a pipe and a file that is not there are refused, and none is waited for', async () => {
  using given = files();
  for (const mode of [0o620, 0o602, 0o666]) assert.match(await look(`file:/${given.file('open', CANARY, mode).slice(1)}`), /^refused: others than its owner can write the file \(mode 6/);
  assert.equal(await look(`file:/${given.file('shown', CANARY, 0o644).slice(1)}`), CANARY);
  execFileSync('mkfifo', ['-m', '600', `${given.dir}/pipe`]);
  assert.match(await look(`file:/${given.dir.slice(1)}/pipe`), /not a regular file/);
  assert.match(await look(`file:/${given.dir.slice(1)}`), /not a regular file/);
  assert.match(await look(`file:/dev/zero`), /not a regular file/);
  assert.match(await look(`file:/${given.dir.slice(1)}/none`), /cannot be opened \(ENOENT\)/);
});

test('a program gets its arguments as they are, PATH and HOME and nothing else, and no input', async () => {
  using given = files();
  assert.equal(await look({ exec: ['/bin/echo', '-n', '$HOME `id` "x"'] }), '$HOME `id` "x"');
  const environ = given.program('environ', 'tr "\\0" "," </proc/$$/environ');
  assert.deepEqual((await look({ exec: [environ] })).split(',').filter((one) => one !== '').map((one) => one.split('=')[0]).toSorted((a, b) => (a ?? '').localeCompare(b ?? '')), ['HOME', 'PATH']);
  assert.equal(await look({ exec: [given.program('input', 'cat; echo end')] }), 'end');
});

test('a program that fails is told by its status alone, and what it wrote is not', async () => {
  using given = files();
  assert.equal(await look({ exec: [given.program('fails', `echo ${CANARY}; echo ${CANARY} >&2; exit 3`)] }), 'refused: the program ended with 3');
  assert.equal(await look({ exec: [given.program('dies', `echo ${CANARY}; kill -9 $$`)] }), 'refused: the program ended with SIGKILL');
  assert.equal(await look({ exec: [given.file('plain', CANARY)] }), 'refused: the program cannot be started (EACCES)');
  assert.equal(await look({ exec: [`${given.dir}/none`] }), 'refused: the program cannot be started (ENOENT)');
});

test('a program that takes too long or prints without end is ended with all that it has started', async () => {
  using given = files();
  const slow = given.program('slow', `sleep 60 & echo $! >${given.dir}/pid; echo ${CANARY}; wait`);
  assert.equal(await look({ exec: [slow] }, { ...GROUND, timeoutMs: 2_000 }), 'refused: the program is not done after 2000 ms');
  const child = readFileSync(`${given.dir}/pid`, 'utf8').trim();
  for (const untilMs = performance.now() + 10_000; isRunning(child); await delay(20)) assert.ok(performance.now() < untilMs, 'it has not ended');
  assert.match(await look({ exec: ['/usr/bin/yes', CANARY] }), /^refused: the program prints more than/);
  assert.equal(await look({ exec: [given.program('leaves', `sleep 60 & echo ${CANARY}`)] }, { ...GROUND, timeoutMs: 500 }), 'refused: the program is not done after 500 ms', 'its output is still open');
});

test('a field of HashiCorp Vault is asked for by token at the path of KV version 2', async () => {
  await using kv = await kvServer(json(kvAnswer({ token: CANARY, other: 'x' })));
  assert.equal(await look(inKv(kv.address)), CANARY);
  assert.equal(await look(inKv(`${kv.address}/base/`, { mount: 'teams/kv', path: 'a/b' })), CANARY);
  assert.deepEqual(kv.asked.map(({ method, url, headers }) => [method, url, headers['x-vault-token']]), [
    ['GET', '/v1/secret/data/app/github', 'hvs.token'],
    ['GET', '/base/v1/teams/kv/data/a/b', 'hvs.token'],
  ]);
  for (const field of ['none', '__proto__', 'constructor']) assert.equal(await look(inKv(kv.address, { field })), 'refused: the secret has no such field that is text');
  assert.match(await look(inKv(kv.address, { token: 'env:NONE' })), /^refused: its token: the variable was not set/);
  assert.equal(kv.asked.length, 5, 'nothing was asked without a token');
});

test('an answer that is not one of KV version 2 is refused', async () => {
  const wrong: readonly unknown[] = [
    CANARY, `{"data": "${CANARY}`, `"${CANARY}"`, '', null, [], { data: { token: CANARY } }, { data: { data: null, metadata: {} } }, { data: { data: CANARY } },
    kvAnswer({ token: { value: CANARY } }), kvAnswer({ token: [CANARY] }), kvAnswer({ token: 7 }), kvAnswer({ token: null }), kvAnswer({ token: '' }), kvAnswer({ token: `a\n${CANARY}` }),
  ];
  for (const body of wrong) {
    await using kv = await kvServer(json(body));
    const said = await look(inKv(kv.address));
    assert.match(said, /^refused: (?:the server does not answer|the secret has no such field|it is empty|it holds a line break)/, JSON.stringify(body));
    assert.ok(!said.includes('cnry'));
  }
});

test('no redirect is followed, and no token goes where one leads', async () => {
  await using elsewhere = await kvServer(json(kvAnswer({ token: CANARY })));
  for (const status of [301, 302, 307, 308]) {
    await using kv = await kvServer((_request, response) => void response.writeHead(status, { location: `${elsewhere.address}/v1/secret/data/app/github` }).end());
    assert.equal(await look(inKv(kv.address)), `refused: the server answers with status ${status}`);
  }
  assert.equal(elsewhere.asked.length, 0);
});

test('a server that refuses, is gone, breaks off, sends too much or says nothing is told by its kind alone', async () => {
  for (const status of [400, 403, 404, 500, 503]) {
    await using kv = await kvServer(json({ errors: [CANARY] }, status));
    assert.equal(await look(inKv(kv.address)), `refused: the server answers with status ${status}`);
  }
  await using huge = await kvServer(json(kvAnswer({ token: CANARY, more: 'x'.repeat(2 * 1024 * 1024) })));
  assert.equal(await look(inKv(huge.address)), 'refused: the server answers with more than 1048576 bytes');
  await using endless = await kvServer((_request, response) => {
    const more = (): void => void (!response.destroyed && response.write(CANARY.repeat(1000), () => setImmediate(more)));
    more();
  });
  assert.match(await look(inKv(endless.address)), /more than 1048576 bytes/);
  await using breaking = await kvServer((_request, response) => void response.write(`{"data": "${CANARY}`, () => response.destroy()));
  assert.match(await look(inKv(breaking.address)), /^refused: the server cannot be asked \(ECONNRESET\)$/);
  for (const stall of [(): void => undefined, (_request: unknown, response: { write(text: string): unknown }): void => void response.write('{"data": {')]) {
    await using slow = await kvServer(stall);
    const startMs = performance.now();
    assert.equal(await look(inKv(slow.address), { ...GROUND, timeoutMs: 500 }), 'refused: the server cannot be asked (it took too long)');
    assert.ok(performance.now() - startMs < 3_000);
  }
  const { address } = await (async () => { await using gone = await kvServer(json('')); return gone; })();
  assert.equal(await look(inKv(address)), 'refused: the server cannot be asked (ECONNREFUSED)');
});

test('plain http goes to this host alone, and an address holds no more than where to', async () => {
  for (const address of ['http://vault.example.com', 'http://10.0.0.1:8200', 'http://127.0.0.1.example.com', 'http://[::2]', 'http://localhost.example.com']) {
    assert.equal(await look(inKv(address)), 'refused: its address must be https, or http of this host');
  }
  for (const address of ['https://user:pw@vault.example.com', 'https://vault.example.com?x=1', 'https://vault.example.com#x']) {
    assert.match(await look(inKv(address)), /^refused: its address must be no more than/);
  }
});

test('a server that cannot prove its name gets no token, even where a variable turns proofs off', async (t) => {
  using given = files();
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${given.dir}/key`, '-out', `${given.dir}/cert`, '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  let asked = 0;
  const server = createSecureServer({ key: readFileSync(`${given.dir}/key`), cert: readFileSync(`${given.dir}/cert`) }, (request, response) => {
    asked++;
    json(kvAnswer({ token: CANARY }))(request, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const address = `https://localhost:${(server.address() as AddressInfo).port}`;
  const script = `import { resolveSource } from '@caisson/vault'; const found = await resolveSource(${JSON.stringify(inKv(address))}, { env: { VAULT_TOKEN: 't' } }); console.log(found.why ?? found.value.toString());`;
  const lookIn = async (env: NodeJS.ProcessEnv): Promise<string> => {
    return (await promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], { cwd: import.meta.dirname, env: { PATH: process.env['PATH'], ...env } })).stdout.trim();
  };
  assert.equal(await lookIn({}), 'the server cannot be asked (DEPTH_ZERO_SELF_SIGNED_CERT)');
  assert.equal(await lookIn({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }), 'the server cannot be asked (DEPTH_ZERO_SELF_SIGNED_CERT)');
  assert.equal(asked, 0, 'no request was made');
  assert.equal(await lookIn({ NODE_EXTRA_CA_CERTS: `${given.dir}/cert` }), CANARY);
});

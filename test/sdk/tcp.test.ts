import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { CaissonError, Sandbox, type TokenInfo } from '@caisson/sdk';
import { REAL, realCaisson } from './given.ts';

/** A port that is free, and stays so until the daemon takes it from its environment: the kernel gives no connection one of below its range. */
async function freePort(): Promise<number> {
  const [below = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
  for (;;) {
    const port = Math.floor(1_024 + Math.random() * Math.max(1_024, below - 1_024));
    const server = createServer().listen(port, '127.0.0.1');
    if (!(await once(server, 'listening').then(() => true, () => false))) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

const port = await freePort();
process.env['CAISSON_API_LISTEN'] = `127.0.0.1:${port}`;
const real = realCaisson();

/** A token, asked for as the operator does: over the socket. */
async function token(scopes: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const asked = request({ socketPath: real().caisson.paths.apiSocket, method: 'POST', path: '/v1/tokens', headers: { 'content-type': 'application/json' } }, (response) => {
    response.setEncoding('utf8');
    response.once('data', (text: string) => resolve((JSON.parse(text) as TokenInfo & { readonly token: string }).token));
  });
  asked.once('error', reject);
  asked.end(JSON.stringify({ name: 'sdk', scopes }));
  return promise;
}

test('over TCP a token opens what its scopes say: a sandbox, its commands, its files and its ports', REAL, async () => {
  const connection = { url: `http://127.0.0.1:${port}`, token: await token(['sandboxes:read', 'sandboxes:write', 'exec', 'files:read', 'files:write']) };
  await using box = await Sandbox.create({}, { connection });
  await box.files.write('index.html', 'over TCP');
  assert.equal((await box.exec(['cat'], { stdin: 'x'.repeat(1_000_000) })).stdoutBytes.length, 1_000_000);
  await using server = await box.spawn(['python3', '-u', '-m', 'http.server', '8000', '--bind', '127.0.0.1']);
  await server.stdout.lines().next();
  assert.equal(await (await box.ports.fetch(8000, '/index.html')).text(), 'over TCP');
});

test('SCOPE_MISSING and TOKEN_INVALID: a token that may not is told so, with the status of the answer', REAL, async () => {
  const url = `http://127.0.0.1:${port}`;
  const refused = (expected: string, status: number) => (error: unknown): boolean => error instanceof CaissonError && error.code === expected && error.status === status;
  await assert.rejects(Sandbox.create({}, { connection: { url, token: await token(['sandboxes:read']) } }), refused('SCOPE_MISSING', 403));
  await assert.rejects(Sandbox.create({}, { connection: { url, token: 'invented' } }), refused('TOKEN_INVALID', 401));
});

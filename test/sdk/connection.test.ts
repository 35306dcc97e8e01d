import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { statePaths } from '@caisson/contract';
import { CaissonError, connectionOf } from '@caisson/sdk';
import fc from 'fast-check';

const name = fc.option(fc.oneof(fc.constantFrom('', '/srv/caisson', 'relative', '/ä/ß'), fc.string({ maxLength: 20 }).map((text) => `/${text}`)), { nil: undefined });

test('without a connection the SDK finds the socket where Caisson puts it', () => {
  fc.assert(fc.property(fc.record({ CAISSON_DIR: name, HOME: name, XDG_STATE_HOME: name, XDG_RUNTIME_DIR: name }), fc.constantFrom(0, 1000, 65_534), (env, uid) => {
    const surroundings = { env, uid, resolve };
    assert.deepEqual(connectionOf({}, surroundings).place, { socketPath: statePaths(surroundings).apiSocket });
  }));
});

test('what is given goes before the environment, and a socket of the environment before its URL', () => {
  const place = (options: Parameters<typeof connectionOf>[0], env: Record<string, string>): unknown => connectionOf(options, { env, uid: 0, resolve }).place;
  const env = { CAISSON_API_SOCKET: '/e.sock', CAISSON_API_URL: 'https://e:1', CAISSON_API_TOKEN: 't' };
  assert.deepEqual(place({ socket: '/o.sock' }, env), { socketPath: '/o.sock' });
  assert.deepEqual(place({ url: 'http://[::1]:8080', token: 'x' }, env), { secure: false, host: '::1', port: 8080 });
  assert.deepEqual(place({}, env), { socketPath: '/e.sock' });
  assert.deepEqual(place({}, { CAISSON_API_URL: 'https://e', CAISSON_API_TOKEN: 't' }), { secure: true, host: 'e', port: 443 });
});

test('OPTIONS_INVALID: an address that cannot be used is refused before anything is sent', () => {
  const env = {};
  const wrong = [
    { url: 'ftp://e', token: 't' }, { url: 'http://e/path', token: 't' }, { url: 'http://user@e', token: 't' }, { url: 'nonsense', token: 't' }, { url: 'http://e' },
    { url: 'http://e', token: 'a\r\nb: c' }, { url: 'http://e', socket: '/s', token: 't' }, { reconnectMs: -1 },
  ];
  for (const options of wrong) {
    assert.throws(() => connectionOf(options, { env, uid: 0, resolve }), (error) => error instanceof CaissonError && error.code === 'OPTIONS_INVALID', JSON.stringify(options));
  }
});

test('a token of the environment is not sent to an address that was given without one', () => {
  assert.throws(() => connectionOf({ url: 'http://elsewhere' }, { env: { CAISSON_API_TOKEN: 'secret' }, uid: 0, resolve }), CaissonError);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Lease, SecretPlace } from '@caisson/contract';
import { inject, type HeldSecret, type Injectable, type Injected } from '@caisson/egress';

const PLACEHOLDER = 'caisson-0123456789abcdefghijABCDEFGHIJ0123456789';
const VALUE = 'sk-live-4242';
const NOW = 1_000_000;

const lease = (more: Partial<Lease> = {}): Lease => ({
  id: 'lea-0000000000000000', secret: 'openai', placeholder: PLACEHOLDER, env: 'OPENAI', hosts: ['api.example.test'], at: 'bearer', expiresMs: null, digest: 'd', ...more,
});
const held = (more: Partial<Lease> = {}, value = VALUE): HeldSecret => ({ lease: lease(more), value });
const ask = (more: Partial<Injectable> = {}): Injectable => ({
  host: 'api.example.test', port: 443, method: 'GET', path: '/v1/models', rawHeaders: ['Host', 'api.example.test'], secure: true, wallMs: NOW, ...more,
});
const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`];
const basic = (text: string): readonly string[] => ['Authorization', `Basic ${Buffer.from(text).toString('base64')}`];

function injected(request: Injectable, ...secrets: readonly HeldSecret[]): Injected {
  const result = inject(request, secrets);
  assert.ok(!('effect' in result), JSON.stringify(result));
  return result;
}

function denied(request: Injectable, ...secrets: readonly HeldSecret[]): string {
  const result = inject(request, secrets);
  assert.ok('effect' in result, JSON.stringify(result));
  assert.ok(!JSON.stringify(result).includes(VALUE), 'a refusal tells the secret');
  return result.reason;
}

test('a placeholder in its place is replaced, and what else is sent is not touched', () => {
  const others = ['Host', 'api.example.test', 'X-Other', 'Bearer of news'];
  const cases: readonly [SecretPlace, readonly string[], readonly string[]][] = [
    ['bearer', bearer(PLACEHOLDER), bearer(VALUE)],
    ['bearer', ['authorization', `token ${PLACEHOLDER}`], ['authorization', `token ${VALUE}`]],
    ['basic', basic(`user:${PLACEHOLDER}`), basic(`user:${VALUE}`)],
    ['header:X-Api-Key', ['x-api-key', PLACEHOLDER], ['x-api-key', VALUE]],
  ];
  for (const [at, before, after] of cases) {
    const { rawHeaders, path, used } = injected(ask({ rawHeaders: [...others, ...before] }), held({ at }));
    assert.deepEqual([rawHeaders, path, used.length], [[...others, ...after], '/v1/models', 1], at);
  }
  const query = injected(ask({ path: `/v1?a=1&key=${PLACEHOLDER}&b=%20` }), held({ at: 'query:key' }, 'a b&c'));
  assert.equal(query.path, '/v1?a=1&key=a%20b%26c&b=%20');
});

test('a request without the placeholder gets no secret', () => {
  for (const headers of [[], bearer('another'), basic('user:another')]) assert.deepEqual(injected(ask({ rawHeaders: headers }), held()).used, []);
});

test('two secrets of one request are both put in, each in its place', () => {
  const other = { ...held({ secret: 'key', id: 'lea-1111111111111111', at: 'header:X-Key', placeholder: 'ghp_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz' }), value: 'second' };
  const { rawHeaders, used } = injected(ask({ rawHeaders: [...bearer(PLACEHOLDER), 'X-Key', other.lease.placeholder] }), held(), other);
  assert.deepEqual([rawHeaders, used.map(({ lease: { secret } }) => secret)], [[...bearer(VALUE), 'X-Key', 'second'], ['openai', 'key']]);
});

test('what a host may say back is looked for in whatever it is asked, and asked for whole', () => {
  const pieces = ['Range', 'bytes=0-1', 'If-Range', '"x"', 'Sec-WebSocket-Extensions', 'permessage-deflate'];
  const own = injected(ask({ rawHeaders: ['Accept', '*/*', ...pieces] }), held());
  assert.deepEqual([own.rawHeaders, own.used], [['Accept', '*/*'], []]);
  assert.ok(own.echoes.includes(VALUE));
  const other = injected(ask({ host: 'other.example.test', rawHeaders: pieces }), held());
  assert.deepEqual([other.rawHeaders, other.echoes], [pieces, []]);
});

for (const [why, request, more, reason] of [
  ['another host', { host: 'evil.example.test' }, {}, /none of its hosts/],
  ['a host below', { host: 'x.api.example.test' }, {}, /none of its hosts/],
  ['another port', { port: 8443 }, {}, /none of its hosts/],
  ['no TLS', { secure: false, port: 80 }, {}, /does not speak TLS/],
  ['a lease that is over', {}, { expiresMs: NOW }, /lease is over/],
  ['another method', { method: 'POST' }, { methods: ['GET'] }, /none of its methods/],
  ['a method in other letters', { method: 'get' }, { methods: ['GET'] }, /none of its methods/],
  ['another path', { path: '/admin' }, { paths: ['/v1/*'] }, /none of its paths/],
  ['a path that another server could read as one of its own', { path: '/v1/../admin' }, { paths: ['/v1/**'] }, /not clear/],
  ['a path with an escaped separator', { path: '/v1%2f..%2fadmin' }, { paths: ['/v1*'] }, /not clear/],
] as const satisfies readonly (readonly [string, Partial<Injectable>, Partial<Lease>, RegExp])[]) {
  test(`a placeholder does not become a secret for ${why}`, () => {
    assert.match(denied(ask({ rawHeaders: bearer(PLACEHOLDER), ...request }), held(more)), reason);
  });
}

for (const [where, request] of [
  ['another field', { rawHeaders: ['User-Agent', PLACEHOLDER] }],
  ['the same field twice', { rawHeaders: [...bearer(PLACEHOLDER), ...bearer('x')] }],
  ['a field and its own place', { rawHeaders: [...bearer(PLACEHOLDER), 'X-Copy', PLACEHOLDER] }],
  ['the middle of a token', { rawHeaders: bearer(`x${PLACEHOLDER}`) }],
  ['the path', { path: `/v1/${PLACEHOLDER}`, rawHeaders: bearer(PLACEHOLDER) }],
  ['the path, escaped', { path: `/v1/%63${PLACEHOLDER.slice(1)}` }],
  ['the query', { path: `/v1?q=${PLACEHOLDER}` }],
  ['a field, escaped', { rawHeaders: ['Referer', `https://x.test/?%63${PLACEHOLDER.slice(1)}`] }],
  ['Basic, as its user', { rawHeaders: basic(`${PLACEHOLDER}:x`) }],
  ['Basic, where it goes as a token', { rawHeaders: basic(`user:${PLACEHOLDER}`) }],
  ['the name of a field', { rawHeaders: [PLACEHOLDER, 'x'] }],
  ['a cookie', { rawHeaders: ['Cookie', `s=${PLACEHOLDER}`] }],
] as const satisfies readonly (readonly [string, Partial<Injectable>])[]) {
  test(`a request with the placeholder in ${where} is refused`, () => {
    assert.match(denied(ask(request), held()), /stands elsewhere/);
  });
}

test('a value that would end a field, or hold one more, is not put in', () => {
  for (const value of ['a\r\nX-More: 1', 'a\nb', 'a\u0000', 'é', '', ' a', 'a'.repeat(9_000)]) {
    const result = inject(ask({ rawHeaders: bearer(PLACEHOLDER) }), [held({}, value)]);
    assert.ok('effect' in result && /cannot stand/.test(result.reason), JSON.stringify(value));
  }
});

test('whatever a request is, the value goes to its host by TLS in its place alone, and no refusal tells it', () => {
  const text = fc.oneof(fc.constant(PLACEHOLDER), fc.constant(`Bearer ${PLACEHOLDER}`), fc.string({ maxLength: 20 }), fc.constant(basic(`u:${PLACEHOLDER}`)[1] ?? ''));
  const field = fc.tuple(fc.constantFrom('Authorization', 'X-Key', 'Cookie', 'authorization'), text).map(([name, value]) => [name, value]);
  fc.assert(fc.property(
    fc.array(field, { maxLength: 4 }), fc.constantFrom('api.example.test', 'evil.test'), fc.constantFrom(443, 80), fc.boolean(), fc.oneof(fc.constant('/v1'), text.map((each) => `/v1?q=${encodeURIComponent(each)}`)),
    (fields, host, port, secure, path) => {
      const result = inject(ask({ rawHeaders: fields.flat(), host, port, secure, path }), [held()]);
      const said = JSON.stringify('effect' in result ? result : [result.path, result.rawHeaders]);
      const count = said.split(VALUE).length - 1;
      if ('effect' in result || result.used.length === 0) return count === 0 && ('effect' in result || !said.includes(PLACEHOLDER));
      return count === 1 && !said.includes(PLACEHOLDER) && host === 'api.example.test' && port === 443 && secure;
    },
  ));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { awsKeyFor, type Lease, type SecretPlace } from '@caisson/contract';
import { inject, type HeldSecret, type Injectable, type Injected } from '@caisson/egress';
import { rawOf, sign, targetOf, type How, type Unsigned } from './aws-client.ts';

const PLACEHOLDER = 'AKIA0123456789ABCDEF';
const NOW = Date.parse('2026-11-27T21:45:00Z');
const HOST = 'api.example.test';
const REAL = { accessKeyId: 'AKIDREAL0123', secretAccessKey: 'wJalrReal/K7MDENG+bPxRfiCYREALKEYabcdef0' };
const STANDING = { accessKeyId: PLACEHOLDER, secretAccessKey: awsKeyFor(PLACEHOLDER) };
const INSIDE: How = { keys: STANDING, atMs: NOW };

const lease = (more: Partial<Lease> = {}): Lease => ({
  id: 'lea-0000000000000000', secret: 'aws', placeholder: PLACEHOLDER, env: 'AWS_ACCESS_KEY_ID', hosts: [HOST], at: 'sigv4', expiresMs: null, digest: 'd', ...more,
});
const held = (more: Partial<Lease> = {}, { sessionToken = null as string | null, expiresMs = null as number | null, keys = REAL } = {}): HeldSecret => ({
  lease: lease(more), value: JSON.stringify({ ...keys, sessionToken, expiresMs }),
});
const ask = (more: Partial<Injectable> = {}): Injectable => ({ host: HOST, port: 443, method: 'GET', path: '/', rawHeaders: [], secure: true, wallMs: NOW, ...more });

/** A request as a client in the sandbox sends it. */
async function client(unsigned: Unsigned = {}, how: Partial<How> = {}): Promise<Injectable> {
  const { method = 'GET', body = '' } = unsigned;
  return ask({ method, path: targetOf(unsigned), rawHeaders: rawOf(await sign(unsigned, { ...INSIDE, ...how })), body: Buffer.from(body), ...(unsigned.host !== undefined && { host: unsigned.host }) });
}

function injected(request: Injectable, secret = held()): Injected {
  const result = inject(request, [secret]);
  assert.ok(!('effect' in result), JSON.stringify(result));
  return result;
}

function denied(request: Injectable, secret = held()): string {
  const result = inject(request, [secret]);
  assert.ok('effect' in result, JSON.stringify(result));
  const said = JSON.stringify(result);
  assert.ok(!said.includes(REAL.secretAccessKey) && !said.includes(REAL.accessKeyId), said);
  return `${result.reason}; ${result.wouldAllow}`;
}

const fieldOf = ({ rawHeaders }: Pick<Injected, 'rawHeaders'>, name: string): readonly string[] => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
const tampered = (request: Injectable, change: (name: string, value: string) => readonly string[]): Injectable => ({
  ...request, rawHeaders: request.rawHeaders.flatMap((name, at) => (at % 2 === 0 ? change(name.toLowerCase(), request.rawHeaders[at + 1] ?? '') : [])),
});
const withField = (request: Injectable, ...pairs: readonly string[]): Injectable => ({ ...request, rawHeaders: [...request.rawHeaders, ...pairs] });
const authorized = (request: Injectable, change: (text: string) => string): Injectable => tampered(request, (name, value) => [name, name === 'authorization' ? change(value) : value]);

test('what a client signs by the placeholder is signed by the real key as the signer of AWS does it, whatever the request is', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 8 });
  const segment = fc.oneof(text.filter((each) => each !== '' && each !== '.' && each !== '..').map(encodeURIComponent), fc.constantFrom('a:b', 'x@y', '(z)', "it's", 'a+b', '$1', '*', '~', 'a%20b', '%E1%88%B4'));
  const word = fc.stringMatching(/^[!-~](?:[ -~]{0,20}[!-~])?$/);
  await fc.assert(fc.asyncProperty(
    fc.record({
      method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD'),
      path: fc.tuple(fc.array(segment, { maxLength: 4 }), fc.boolean()).map(([segments, ends]) => `/${segments.join('/')}${ends && segments.length > 0 ? '/' : ''}`),
      query: fc.array(fc.tuple(text.filter((each) => each !== '' && !/^x-amz-/i.test(each)), text), { maxLength: 4 }),
      headers: fc.dictionary(fc.constantFrom('content-type', 'range', 'x-amz-meta-a', 'x-amz-acl', 'if-match', 'x-other', 'accept-encoding', 'accept'), word),
      body: fc.string({ maxLength: 40 }),
    }),
    fc.constantFrom('s3', 'execute-api', 'sts'), fc.boolean(), fc.option(fc.constant('FwoGZXIvYXdzEXAMPLETOKEN/+=='), { nil: null }),
    async (unsigned, service, hash, sessionToken) => {
      const was = await client(unsigned, { service, hash });
      const got = injected(was, held({}, { sessionToken }));
      const sent = { ...unsigned, headers: { ...unsigned.headers, ...('accept-encoding' in unsigned.headers && { 'accept-encoding': 'identity' }) } };
      const wanted = await sign(sent, { ...INSIDE, service, hash, keys: { ...REAL, ...(sessionToken !== null && { sessionToken }) } });
      assert.deepEqual(fieldOf(got, 'authorization'), [wanted['authorization']]);
      assert.deepEqual(fieldOf(got, 'x-amz-security-token'), sessionToken === null ? [] : [sessionToken]);
      assert.equal(got.path, was.path);
      assert.ok(!JSON.stringify(got.rawHeaders).includes(PLACEHOLDER));
    },
  ), { numRuns: 300 });
});

/** AWS, "Signature Version 4 test suite": requests of one key and one second, and what they are signed by. */
const VECTORS: readonly (readonly [name: string, unsigned: Unsigned, signature: string])[] = [
  ['get-vanilla', {}, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  ['get-vanilla-query-order-key-case', { query: [['Param2', 'value2'], ['Param1', 'value1']] }, 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500'],
  ['get-header-value-trim', { headers: { 'my-header1': ' value1', 'my-header2': ' "a   b   c"' } }, 'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736'],
  ['post-vanilla', { method: 'POST' }, '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  ['post-x-www-form-urlencoded', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'Param1=value1' }, 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a'],
];

for (const [name, unsigned, signature] of VECTORS) {
  test(`signatures are those that AWS publishes: ${name}`, async () => {
    const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
    const host = 'example.amazonaws.com';
    const atMs = Date.parse('2015-08-30T12:36:00Z');
    const request = await client({ host, ...unsigned }, { atMs, region: 'us-east-1', service: 'service', hash: false });
    const [authorization] = fieldOf(injected({ ...request, wallMs: atMs }, held({ hosts: [host] }, { keys })), 'authorization');
    const names = ['content-type', 'host', 'my-header1', 'my-header2', 'x-amz-date'].filter((each) => ['host', 'x-amz-date', ...Object.keys(unsigned.headers ?? {})].includes(each));
    assert.equal(authorization, `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${names.join(';')}, Signature=${signature}`);
  });
}

test('the payload is named by the client, and else is what the gate has read', async () => {
  const put: Unsigned = { method: 'PUT', path: '/bucket/key', body: 'content' };
  for (const word of ['UNSIGNED-PAYLOAD', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'a'.repeat(64)]) {
    const headers = { 'x-amz-content-sha256': word };
    const got = injected({ ...await client({ ...put, headers }), body: null });
    assert.deepEqual(fieldOf(got, 'authorization'), [(await sign({ ...put, headers }, { ...INSIDE, keys: REAL }))['authorization']], word);
  }
  const read = await client(put, { hash: false });
  assert.deepEqual(fieldOf(injected(read), 'authorization'), [(await sign(put, { ...INSIDE, keys: REAL, hash: false }))['authorization']], 'control');
  assert.match(denied({ ...read, body: null }), /neither a hash nor a word/);
  assert.match(denied({ ...read, body: Buffer.from('another') }), /its signature is not the one/);
});

test('a token that the client made up does not go on, and the one of the credentials does, signed', async () => {
  const request = await client({}, { keys: { ...STANDING, sessionToken: 'of-the-client' } });
  for (const sessionToken of [null, 'a-real-session-token']) {
    const got = injected(request, held({}, { sessionToken }));
    assert.deepEqual(fieldOf(got, 'x-amz-security-token'), sessionToken === null ? [] : [sessionToken]);
    const wanted = await sign({}, { ...INSIDE, keys: { ...REAL, ...(sessionToken !== null && { sessionToken }) } });
    assert.deepEqual(fieldOf(got, 'authorization'), [wanted['authorization']]);
  }
});

test('a field that comes twice is signed as it is sent, in order', async () => {
  const request = await client({ headers: { 'x-twice': 'b,a' } });
  const apart = tampered(request, (name, value) => (name === 'x-twice' ? ['X-Twice', 'b', 'x-twice', 'a'] : [name, value]));
  const got = injected(apart);
  assert.deepEqual(fieldOf(got, 'x-twice'), ['b', 'a']);
  assert.deepEqual(fieldOf(got, 'authorization'), [(await sign({ headers: { 'x-twice': 'b,a' } }, { ...INSIDE, keys: REAL }))['authorization']]);
  assert.match(denied(tampered(request, (name, value) => (name === 'x-twice' ? [name, 'a', name, 'b'] : [name, value]))), /its signature is not the one/);
});

test('ranges may be asked for, and key and token are looked for in whatever their hosts answer', async () => {
  const secret = held({}, { sessionToken: 'a-real-session-token' });
  const got = injected(await client({ headers: { range: 'bytes=0-1' } }), secret);
  assert.deepEqual(fieldOf(got, 'range'), ['bytes=0-1']);
  for (const { echoes } of [got, injected(ask({ rawHeaders: ['host', HOST] }), secret)]) {
    for (const text of [REAL.secretAccessKey, encodeURIComponent(REAL.secretAccessKey), 'a-real-session-token']) assert.ok(echoes.includes(text), text);
  }
  assert.deepEqual(injected(ask({ host: 'other.example.test', rawHeaders: [] }), secret).echoes, []);
});

const KEYHOLDER = 'caisson-0123456789abcdefghijABCDEFGHIJ0123456789';
const OTHER_KEY = "sk live-4242!'(x)*+/=";
const beside = (at: SecretPlace): HeldSecret => ({ lease: lease({ id: 'lea-1111111111111111', secret: 'other', placeholder: KEYHOLDER, env: 'OTHER', at }), value: OTHER_KEY });
/** A request that a client signs with a text in a field or in its query. */
const signedWith = { 'header:x-api-key': (text: string): Unsigned => ({ headers: { 'x-api-key': text } }), 'query:key': (text: string): Unsigned => ({ query: [['b', '2'], ['key', text], ['a', "'(1)'"]] }) } as const;

for (const at of ['header:x-api-key', 'query:key'] as const) {
  test(`a request with another secret in a signed field is signed as it is sent: ${at}`, async () => {
    const request = await client(signedWith[at](KEYHOLDER));
    for (const both of [[held(), beside(at)], [beside(at), held()]]) {
      const got = inject(request, both);
      assert.ok(!('effect' in got), JSON.stringify(got));
      assert.deepEqual(fieldOf(got, 'authorization'), [(await sign(signedWith[at](OTHER_KEY), { ...INSIDE, keys: REAL }))['authorization']]);
      assert.deepEqual([got.used.length, JSON.stringify([got.path, got.rawHeaders]).includes(KEYHOLDER)], [2, false]);
      assert.ok(got.path.includes(encodeURIComponent(OTHER_KEY)) || fieldOf(got, 'x-api-key').includes(OTHER_KEY), got.path);
    }
  });

  test(`a client that signs the value of another secret instead of its placeholder is refused: ${at}`, async () => {
    const both = [held(), beside(at)];
    const honest = await client(signedWith[at](KEYHOLDER));
    assert.ok(!('effect' in inject(honest, both)), 'control');
    const said = await Promise.all([OTHER_KEY, 'another'].map(async (guess) => {
      const signed = await client(signedWith[at](guess));
      const result = inject({ ...honest, rawHeaders: tampered(honest, (name, value) => [name, name === 'authorization' ? fieldOf(signed, name)[0] ?? '' : value]).rawHeaders }, both);
      assert.ok('effect' in result, `signed as ${guess}`);
      return JSON.stringify(result);
    }));
    assert.match(said[0] ?? '', /its signature is not the one/);
    assert.equal(said[0], said[1], 'a guess that is right is told from none that is wrong');
  });
}

test('a range that was signed and does not go on, because the host has another secret, is not signed', async () => {
  const unsigned: Unsigned = { headers: { range: 'bytes=0-1', 'x-amz-meta-a': 'b' } };
  const got = inject(await client(unsigned), [held(), beside('bearer')]);
  assert.ok(!('effect' in got), JSON.stringify(got));
  assert.deepEqual([fieldOf(got, 'range'), fieldOf(got, 'x-amz-meta-a')], [[], ['b']]);
  assert.deepEqual(fieldOf(got, 'authorization'), [(await sign({ headers: { 'x-amz-meta-a': 'b' } }, { ...INSIDE, keys: REAL }))['authorization']]);
  assert.deepEqual(fieldOf(injected(await client(unsigned)), 'range'), ['bytes=0-1'], 'control: where it has none it goes on');
});

for (const [why, change, reason, more] of [
  ['another host', { host: 'evil.example.test' }, /none of its hosts/, {}],
  ['another port', { port: 8443 }, /none of its hosts/, {}],
  ['no TLS', { secure: false, port: 80 }, /does not speak TLS/, {}],
  ['another method', {}, /none of its methods/, { methods: ['PUT'] }],
  ['another path', {}, /none of its paths/, { paths: ['/mine/**'] }],
  ['a lease that is over', {}, /lease is over/, { expiresMs: NOW }],
  ['another region', {}, /eu-west-1 is none of its regions; one of the regions us-east-1/, { aws: { regions: ['us-east-1'] } }],
  ['another service', {}, /s3 is none of its services; one of the services sqs, sns/, { aws: { services: ['sqs', 'sns'] } }],
  ['a clock that is behind', { wallMs: NOW + 300_001 }, /more than 300 s from the clock/, {}],
  ['a clock that is ahead', { wallMs: NOW - 300_001 }, /more than 300 s from the clock/, {}],
  ['another method than was signed', { method: 'DELETE' }, /its signature is not the one/, {}],
] as const satisfies readonly (readonly [string, Partial<Injectable>, RegExp, Partial<Lease>])[]) {
  test(`nothing is signed for ${why}`, async () => {
    const request = await client({ path: '/bucket/key' });
    injected(request, held({ aws: { regions: ['eu-west-1'], services: ['s3'] }, methods: ['GET'], paths: ['/bucket/*'] }));
    assert.match(denied({ ...request, ...change }, held(more)), reason);
  });
}

const S3 = 's3.eu-west-1.amazonaws.com';
for (const [what, source, hosts, paths, passes] of [
  ['its bucket', 'mine/a/b.txt', [`mine.${S3}`], undefined, true],
  ['its bucket, as older clients say it', '/mine/a%20b?versionId=1', ['mine.s3.amazonaws.com'], undefined, true],
  ['its bucket that has dots', 'my.own/a', [`my.own.${S3}`], undefined, true],
  ['another host of its lease', 'other/a', [`mine.${S3}`, 'other.s3.dualstack.us-east-1.amazonaws.com'], undefined, true],
  ['any bucket of a host that has them all', 'other/a', [S3], undefined, true],
  ['a path of its lease', 'mine/a/b', [S3], ['/mine/**'], true],
  ['another bucket', 'other/a', [`mine.${S3}`], undefined, false],
  ['another bucket, with a slash before', '/other/a', [`mine.${S3}`], undefined, false],
  ['a bucket that the name of its own begins with', 'my/a', [`my.own.${S3}`], undefined, false],
  ['a bucket that begins with the name of its own', 'mine-too/a', [`mine.${S3}`], undefined, false],
  ['another bucket, escaped', '%6fther/a', [`mine.${S3}`], undefined, false],
  ['its bucket, as a segment before another', 'mine%2F..%2Fother/a', [`mine.${S3}`], undefined, false],
  ['an access point', 'arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/object/a', [`mine.${S3}`], undefined, false],
  ['a bucket that is named as an access point is', 'mine-123456789012/a', ['mine-123456789012.s3-accesspoint.eu-west-1.amazonaws.com'], undefined, false],
  ['a path that its lease is not for', 'other/a', [S3], ['/mine/**'], false],
  ['a key that its lease is not for', 'mine/b', [`mine.${S3}`], ['/a/**'], false],
  ['a server that is not known', 'mine/a', ['mine.example.test'], undefined, false],
  ['nothing', '', [`mine.${S3}`], undefined, false],
] as const satisfies readonly (readonly [string, string, readonly string[], readonly string[] | undefined, boolean])[]) {
  test(`a copy from another bucket is not signed: ${what}${passes ? ', which is none' : ''}`, async () => {
    const request = await client({ method: 'PUT', host: hosts[0], path: paths === undefined ? '/copy' : paths[0].replace('**', 'copy'), headers: { 'x-amz-copy-source': source } });
    const secret = held({ hosts, ...(paths !== undefined && { paths }) });
    if (passes) assert.deepEqual(fieldOf(injected(request, secret), 'x-amz-copy-source'), [source]);
    else assert.match(denied(request, secret), /what is copied is at none of its hosts and paths/);
    assert.match(denied(withField(request, 'X-Amz-Copy-Source', 'other2/a'), secret), /what is copied|its signature is not the one/);
  });
}

for (const [signedPath, sentPath] of [
  ['/bucket/a/b', '/bucket/a%2Fb'], ['/bucket/a%2Fb', '/bucket/a/b'], ['/bucket/a%252Fb', '/bucket/a%2Fb'], ['/bucket/a%2Fb', '/bucket/a%252Fb'],
  ['/b', '/a/../b'], ['/b', '/./b'], ['/b', '//b'], ['/a/b', '/a//b'], ['/b', '/%2e%2e/b'], ['/b', '/b/'], ['/b', '/b?x'], ['/b', '/b#x'], ['/a', '/%61'], ['/b', '/b\\..\\c'],
] as const) {
  test(`what is signed as ${signedPath} and sent as ${sentPath} is signed for no service`, async () => {
    for (const service of ['s3', 'sqs']) {
      const request = await client({ path: signedPath }, { service });
      injected(request);
      assert.match(denied({ ...request, path: sentPath }), /its signature is not the one|not printable ASCII|has dot segments or empty ones/, service);
    }
  });
}

test('dot segments and empty ones are signed as they are sent, as S3 has them, and left out for nobody', async () => {
  for (const path of ['/a/../b', '/a//b', '/./a', '/a/.']) {
    const got = injected(await client({ path }));
    assert.deepEqual([got.path, fieldOf(got, 'authorization')], [path, [(await sign({ path }, { ...INSIDE, keys: REAL }))['authorization']]]);
    assert.match(denied(await client({ path }, { service: 'sqs' })), /has dot segments or empty ones, which are not signed as they are sent/);
  }
});

for (const [what, names, more, reason] of [
  ['host twice', 'host;host;x-amz-content-sha256;x-amz-date', [], /not in order, each once/],
  ['fields out of order', 'x-amz-date;host', [], /not in order, each once/],
  ['no host', 'x-amz-content-sha256;x-amz-date', [], /Host is not signed/],
  ['authorization', 'authorization;host;x-amz-date', [], /signs authorization, which does not go on/],
  ['connection', 'connection;host;x-amz-date', ['connection', 'close'], /signs connection, which does not go on/],
  ['transfer-encoding', 'host;transfer-encoding;x-amz-date', ['transfer-encoding', 'chunked'], /signs transfer-encoding/],
  ['what Connection takes away', 'host;x-amz-date;x-own', ['x-own', '1', 'connection', 'keep-alive, X-Own'], /signs x-own, which does not go on/],
  ['a field that is not there', 'host;x-amz-date;x-none', [], /signs x-none, which it does not have/],
  ['a name that every object has', '__proto__;host;x-amz-date', [], /signs __proto__, which it does not have/],
  ['a value of other letters', 'host;x-amz-date;x-own', ['x-own', '\u00e9'], /x-own, whose value is not printable/],
  ['Host that comes twice', 'host;x-amz-date', ['host', HOST], /has host more than once/],
] as const) {
  test(`SignedHeaders with ${what} sign nothing`, async () => {
    const request = withField(await client(), ...more);
    assert.match(denied(authorized(request, (text) => text.replace(/SignedHeaders=[^,]*/, `SignedHeaders=${names}`))), reason);
  });
}

for (const [what, change, reason] of [
  ['Authorization twice', (request: Injectable) => withField(request, 'Authorization', fieldOf(request, 'authorization')[0] ?? ''), /elsewhere than in one field/],
  ['another Authorization beside it', (request: Injectable) => withField(request, 'Authorization', 'Bearer x'), /elsewhere than in one field/],
  ['the placeholder in a field as well', (request: Injectable) => withField(request, 'X-Copy', PLACEHOLDER), /elsewhere than as sigv4, once/],
  ['the key of the sandbox in a field', (request: Injectable) => withField(request, 'X-Copy', STANDING.secretAccessKey), /elsewhere than as sigv4, once/],
  ['the placeholder in its query', (request: Injectable) => ({ ...request, path: `/?q=${PLACEHOLDER}` }), /its signature is not the one/],
  ['Signature Version 2', (request: Injectable) => authorized(request, () => `AWS ${PLACEHOLDER}:c2ln`), /elsewhere than as the Credential/],
  ['Basic', (request: Injectable) => authorized(request, () => `Basic ${Buffer.from(`${PLACEHOLDER}:x`).toString('base64')}`), /elsewhere than as the Credential/],
  ['Signature Version 4A', (request: Injectable) => authorized(request, (text) => text.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256')), /4A is not signed anew; Signature Version 4, for one region/],
  ['an address that is signed', () => ask({ path: `/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${PLACEHOLDER}%2F20261127%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=0` }), /signed in its query is not signed anew/],
  ['a query that speaks of its signature', (request: Injectable) => ({ ...request, path: '/?x-amz-%64ate=20261127T214500Z' }), /signed in its query is not signed anew/],
  ['pieces that are signed', async () => client({ headers: { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' } }), /each piece of its body is signed.*UNSIGNED-PAYLOAD/],
  ['another word for its payload', async () => client({ headers: { 'x-amz-content-sha256': 'NONE' } }), /neither a hash nor a word/],
  ['two hashes', (request: Injectable) => withField(request, 'X-Amz-Content-Sha256', 'UNSIGNED-PAYLOAD'), /x-amz-content-sha256 more than once/],
  ['two dates', (request: Injectable) => withField(request, 'X-Amz-Date', '20261127T214500Z'), /one field X-Amz-Date/],
  ['no date', (request: Injectable) => tampered(request, (name, value) => (name === 'x-amz-date' ? ['date', value] : [name, value])), /one field X-Amz-Date/],
  ['a day of another time', (request: Injectable) => authorized(request, (text) => text.replace('/20261127/', '/20261126/')), /not of the day/],
  ['another signature', (request: Injectable) => authorized(request, (text) => text.replace(/.$/, (last) => (last === '0' ? '1' : '0'))), /its signature is not the one .*the pair of keys that the environment has/],
  ['a token that Connection takes away', (request: Injectable) => withField(request, 'Connection', 'x-amz-security-token'), /signs x-amz-security-token, which does not go on/],
  ['Authorization that Connection takes away', (request: Injectable) => withField(request, 'Connection', 'authorization'), /signs authorization, which does not go on/],
  ['a scope with a line in it', (request: Injectable) => authorized(request, (text) => text.replace('/s3/', '/s3 x/')), /elsewhere than as the Credential/],
] as const satisfies readonly (readonly [string, (request: Injectable) => Injectable | Promise<Injectable>, RegExp])[]) {
  test(`a request with ${what} is refused`, async () => {
    const request = await client();
    injected(request);
    assert.match(denied(await change(request)), reason);
  });
}

test('the placeholder of another sandbox is only a text, and credentials that are over sign nothing', async () => {
  const request = await client({}, { keys: { ...STANDING, accessKeyId: 'AKIAZZZZZZZZZZZZZZZZ' } });
  const { rawHeaders, used } = injected(request);
  assert.deepEqual([rawHeaders, used], [request.rawHeaders, []]);
  injected(await client(), held({}, { expiresMs: NOW + 1 }));
  assert.match(denied(await client(), held({}, { expiresMs: NOW })), /its credentials are over/);
  assert.match(denied(await client(), { lease: lease(), value: null }), /cannot be had now/);
  assert.match(denied(await client(), { lease: lease(), value: 'no JSON' }), /no credentials of AWS/);
});

test('whatever stands in a request, what is signed goes to its host by TLS, and the key stands nowhere', async () => {
  const good = await client({ query: [['a', '1']] });
  const piece = fc.constantFrom(PLACEHOLDER, STANDING.secretAccessKey, fieldOf(good, 'authorization')[0] ?? '', '20261127T214500Z', 'UNSIGNED-PAYLOAD', 'x');
  const name = fc.constantFrom('authorization', 'host', 'x-amz-date', 'x-amz-content-sha256', 'connection', 'x-amz-security-token', 'x-other');
  fc.assert(fc.property(
    fc.array(fc.tuple(name, piece), { maxLength: 3 }), fc.boolean(), fc.record({ host: fc.constantFrom(HOST, 'evil.test'), port: fc.constantFrom(443, 80), secure: fc.boolean() }), fc.constantFrom('/?a=1', '/', `/${PLACEHOLDER}`),
    (fields, whole, to, path) => {
      const { host, port, secure } = to;
      const result = inject({ ...good, rawHeaders: [...(whole ? good.rawHeaders : []), ...fields.flat()], ...to, path }, [held()]);
      const said = JSON.stringify('effect' in result ? result : [result.path, result.rawHeaders]);
      if (said.includes(REAL.secretAccessKey)) return false;
      if ('effect' in result || result.used.length === 0) return !said.includes(REAL.accessKeyId) && ('effect' in result || !said.includes(PLACEHOLDER));
      return !said.includes(PLACEHOLDER) && host === HOST && port === 443 && secure;
    },
  ));
});

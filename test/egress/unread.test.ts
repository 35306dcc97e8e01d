import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { awsKeyFor, EgressRule, type Lease } from '@caisson/contract';
import { Admitted, HttpRelay, Neighbours, type HeldSecret } from '@caisson/egress';
import { rawOf, sign, type How, type Unsigned } from './aws-client.ts';

const HOST = 'api.example.test';
const PLACEHOLDER = 'AKIA0123456789ABCDEF';
const LENGTH = 1_000_000;
const WITHIN_MS = 10_000;
const CREDENTIALS = { accessKeyId: 'AKIDREAL0123', secretAccessKey: 'wJalrReal/K7MDENG+bPxRfiCYREALKEYabcdef0', sessionToken: null, expiresMs: null };

interface Case {
  readonly rule?: Partial<EgressRule>;
  readonly lease?: Partial<Lease>;
  readonly value?: object | null;
  readonly unsigned?: Unsigned;
  readonly how?: Partial<How>;
}

/** What the gate's own classes answer to a request of a client whose hash nothing names, and whose body comes in part. */
async function answerTo({ rule = {}, lease = {}, value = CREDENTIALS, unsigned = {}, how = {} }: Case, comes: number, sendsOn = false): Promise<string> {
  const held: HeldSecret = {
    lease: { id: 'lea-0000000000000000', secret: 'aws', placeholder: PLACEHOLDER, env: 'AWS_ACCESS_KEY_ID', hosts: [HOST], at: 'sigv4', expiresMs: null, digest: 'd', ...lease },
    value: value === null ? null : JSON.stringify(value),
  };
  const admitted = new Admitted(
    { sandbox: 'sbx', address: '', network: { rules: [EgressRule.parse({ host: HOST, protocol: 'https', ...rule })] }, policy: {}, authority: null, held: [held] },
    { denials: '/dev/null', record: async () => undefined, nowMs: () => performance.now(), wallMs: Date.now, neighbours: new Neighbours() },
  );
  let ids = 0;
  const relay = new HttpRelay({ resolve: async () => ({ failed: 'it passed' }), nowMs: () => performance.now(), wallMs: Date.now, nextId: () => ++ids });
  const gate = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy());
    relay.serveSecure({ admitted, client, host: HOST, port: 443 });
  }).listen(0, '127.0.0.1');
  await once(gate, 'listening');
  const { port } = gate.address() as AddressInfo;
  const body = 'a'.repeat(LENGTH);
  const { method = 'PUT', path = '/bucket/key' } = unsigned;
  const fields = rawOf(await sign({ method, path, body, ...unsigned }, { keys: { accessKeyId: PLACEHOLDER, secretAccessKey: awsKeyFor(PLACEHOLDER) }, atMs: Date.now(), hash: false, ...how }));
  const lines = fields.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${fields[at + 1] ?? ''}`] : []));
  const client = connect(port, '127.0.0.1').setEncoding('latin1').on('error', () => undefined);
  if (sendsOn) client.pause();
  client.write([`${method} ${path} HTTP/1.1`, ...lines, `content-length: ${LENGTH}`, '', body.slice(0, comes)].join('\r\n'));
  let said = '';
  const timer = setTimeout(() => client.destroy(), WITHIN_MS);
  client.on('data', (piece: string) => {
    said += piece;
    if (/\r\n\r\n\{.*\}/s.test(said)) client.destroy();
  });
  const closed = once(client, 'close');
  if (sendsOn) await sendOn(client, admitted);
  await closed;
  clearTimeout(timer);
  admitted.connections.forEach(({ cut }) => cut('the test is over'));
  gate.close();
  return said;
}

/** Sends half a body from when the request was refused, and only then reads. */
async function sendOn(client: Socket, { refusals }: Admitted): Promise<void> {
  while (refusals.total === 0 && !client.destroyed) await delay(5);
  for (let sent = 0; sent < LENGTH / 2 && client.writable; sent += 50_000) {
    client.write('a'.repeat(50_000));
    await delay(20);
  }
  client.resume();
}

test('a client that sends on, and reads when it has, is told why its request was refused', async () => {
  const said = await answerTo({ rule: { http: { methods: ['GET'] } } }, 0, true);
  assert.match(said, /^HTTP\/1\.1 403 /);
});

test('a request that is signed over its body passes when that has come', async () => {
  assert.match(await answerTo({}, LENGTH), /^HTTP\/1\.1 502 .*it passed/s);
});

for (const [why, given, reason] of [
  ['a method that no rule allows', { rule: { http: { methods: ['GET'] } } }, /no rule of the call for this host allows this PUT request/],
  ['a path that no rule allows', { rule: { http: { paths: ['/other/**'] } } }, /no rule of the call for this host allows this PUT request/],
  ['a body that no rule allows', { rule: { http: { bodyBytes: LENGTH - 1 } } }, /with a body of 1000000 bytes/],
  ['a method that the secret is not for', { lease: { methods: ['GET'] } }, /PUT is none of its methods/],
  ['a path that the secret is not for', { lease: { paths: ['/mine/**'] } }, /none of its paths/],
  ['a host that the secret is not for', { lease: { hosts: ['other.example.test'] } }, /none of its hosts/],
  ['a lease that is over', { lease: { expiresMs: 1 } }, /its lease is over/],
  ['a value that cannot be had', { value: null }, /its value cannot be had now/],
  ['credentials that are over', { value: { ...CREDENTIALS, expiresMs: 1 } }, /its credentials are over/],
  ['another region', { lease: { aws: { regions: ['us-east-1'] } } }, /none of its regions/],
  ['another service', { lease: { aws: { services: ['sqs'] } } }, /none of its services/],
  ['another time', { how: { atMs: Date.now() - 900_000 } }, /more than 300 s from the clock/],
  ['a path that is signed as another', { unsigned: { path: '/a//b' }, how: { service: 'sqs' } }, /dot segments or empty ones/],
] as const satisfies readonly (readonly [string, Case, RegExp])[]) {
  test(`what may not pass is refused before its body has come: ${why}`, async () => {
    const said = await answerTo(given, 0);
    assert.match(said, /^HTTP\/1\.1 403 /);
    assert.match(said, reason);
  });
}

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { sign, type Keys } from './aws-client.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';
import { filesWith } from '../vault/host-search.ts';
import { SEARCH } from '../vault/search-inside.ts';

const PUBLIC = '93.184.216.34';
const HOST = 'api.example.test';
const WORKS_MS = 20_000;

describe('a key of AWS', { skip: noInternet(), concurrency: false }, () => {
  const long: Keys = { accessKeyId: 'AKIDREALLONGTERM1234', secretAccessKey: `${randomBytes(15).toString('hex')}/+${randomBytes(4).toString('hex')}` };
  const brief: Keys = { accessKeyId: 'ASIDREALTEMPORARY123', secretAccessKey: randomBytes(20).toString('hex'), sessionToken: `FwoGZXIv${randomBytes(100).toString('base64')}` };
  let scene: Scene;
  const printed = ({ accessKeyId, secretAccessKey, sessionToken }: Keys, more: object = {}): string =>
    JSON.stringify({ Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, ...(sessionToken !== undefined && { SessionToken: sessionToken }), ...more }, null, 2);
  const printBrief = (keys: Keys, endsInMs: number): void => writeFileSync(`${scene.dir}.brief`, printed(keys, { Expiration: new Date(Date.now() + endsInMs).toISOString() }), { mode: 0o600 });

  before(async () => {
    scene = await openScene({
      policy: ({ net, dir }) => {
        writeFileSync(`${dir}.long`, printed(long), { mode: 0o600 });
        writeFileSync(`${dir}.brief`, printed(brief, { Expiration: new Date(Date.now() + 3_600_000).toISOString() }), { mode: 0o600 });
        const hosts = [HOST];
        return {
          network: { certificateAuthorities: [net.caPem] },
          secrets: {
            aws: { from: `file:/${dir.slice(1)}.long`, hosts, at: 'sigv4' },
            brief: { from: { exec: ['/bin/cat', `${dir}.brief`] }, hosts, at: 'sigv4' },
            narrow: { from: `file:/${dir.slice(1)}.long`, hosts, at: 'sigv4', aws: { regions: ['eu-west-1'], services: ['s3', 'sqs'] }, methods: ['GET', 'PUT'], paths: ['/bucket/**'] },
          },
        };
      },
    });
    for (const name of [HOST, 'other.example.test']) await scene.net.zone.set(name, { addresses: [PUBLIC], ttlSeconds: 3_600 });
  });
  after(() => scene[Symbol.asyncDispose]());

  const sh = async (box: Box, script: string): Promise<string> => {
    const { stdout, stderr } = await box.exec(['sh', '-c', script]);
    return `${stdout.toString()}${stderr}`;
  };
  /** curl in the sandbox, which signs by what the environment has there. */
  const curl = (more: string, { scope = 'eu-west-1:s3', answer = '/tmp/answer' } = {}): string =>
    `curl -sS --max-time 15 -o ${answer} -w "%{http_code}" --aws-sigv4 aws:amz:${scope} -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" ${more}`;

  interface Got {
    readonly version: string;
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  }

  /** Requests that came to the server. */
  const got = async (mark: number): Promise<readonly Got[]> => (await scene.net.since(mark)).requests.map(({ version, method, path, headers, body }) => ({
    version, method, path, body: body.toString('latin1'),
    headers: Object.fromEntries(headers.map(([name, value]) => [name === ':authority' ? 'host' : name.toLowerCase(), value])),
  }));

  /** Verifies the signature of a request by the signer of AWS and the real key. */
  async function verify({ method, path, headers, body }: Got, keys: Keys, { region = 'eu-west-1', service = 's3' } = {}): Promise<void> {
    const authorization = headers['authorization'] ?? '';
    const names = /SignedHeaders=([^,]*),/.exec(authorization)?.[1]?.split(';') ?? [];
    const time = headers['x-amz-date'] ?? '';
    const [line = '', query = ''] = path.split(/\?(.*)/s);
    const own = names.filter((name) => !['host', 'x-amz-date', 'x-amz-security-token'].includes(name));
    const unsigned = { method, host: headers['host'] ?? '', path: line, query: [...new URLSearchParams(query)], headers: Object.fromEntries(own.map((name) => [name, headers[name] ?? ''])), body };
    const atMs = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    const signed = await sign(unsigned, { keys, atMs, region, service, hash: false });
    assert.equal(authorization, signed['authorization']);
    assert.equal(headers['x-amz-security-token'], keys.sessionToken);
  }

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    test(`signs what a client inside has signed by another, by HTTP/1.1 and HTTP/2, and is nowhere inside (${level})`, { timeout: 240_000 }, async () => {
      await using box = await scene.open({ level, secrets: ['aws'] });
      const [id = '', key = ''] = (await sh(box, 'printf "%s %s" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"')).split(' ');
      assert.match(id, /^AKIA[A-Z0-9]{16}$/);
      assert.equal(key, id + id);
      for (const [version, option] of [['1.1', '--http1.1'], ['2.0', '--http2']] as const) {
        for (const [more, scope] of [
          ['"https://api.example.test/bucket/key?list-type=2"', 's3'], ['-X PUT -H "x-amz-meta-a: b" -d content https://api.example.test/bucket/key', 's3'],
          ['-d Action=GetCallerIdentity https://api.example.test/', 'sts'], ['-r 0-3 https://api.example.test/bytes/9', 's3'],
        ] as const) {
          const mark = await scene.net.mark();
          assert.match(await sh(box, curl(`${option} ${more}`, { scope: `eu-west-1:${scope}` })), /^200/, `${version} ${more}: ${await sh(box, 'cat /tmp/answer')}`);
          const [request, ...others] = await got(mark);
          assert.ok(request !== undefined && others.length === 0);
          assert.equal(request.version, version);
          await verify(request, long, { service: scope });
          assert.ok(!JSON.stringify(request).includes(id), 'the placeholder stays');
        }
      }
      assert.match(await sh(box, `${curl('-d x https://api.example.test/echo')}; cat /tmp/answer`), /^200.*AKIDREALLONGTERM1234/, 'control: the server says what it got, which the key is not');
      const half = Math.floor(long.secretAccessKey.length / 2);
      assert.deepEqual(await box.python(SEARCH, long.secretAccessKey.slice(0, half), long.secretAccessKey.slice(half)), ['found 0']);
      assert.match((await box.python(SEARCH, id.slice(0, 9), id.slice(9)))[0] ?? '', /^found [1-9]/, 'control: the search finds what is there');
      for (const folder of [scene.paths.dir, scene.paths.run]) assert.deepEqual(filesWith(folder, long.secretAccessKey), [], folder);
      const uses = (await box.events()).filter(({ event }) => event === 'request');
      assert.ok(uses.length >= 8 && uses.every((event) => /"secret":"aws"/.test(JSON.stringify(event))), JSON.stringify(uses[0]));
    });
  }

  test('a body of any size passes as it comes where the client names its hash, or says that it has signed none', { timeout: 120_000 }, async () => {
    await using box = await scene.open({ level: 'container', secrets: ['aws'] });
    await sh(box, 'head -c 3000000 /dev/zero > /tmp/large');
    for (const hash of ['UNSIGNED-PAYLOAD', '$(sha256sum /tmp/large | cut -d " " -f 1)']) {
      const mark = await scene.net.mark();
      assert.match(await sh(box, curl(`-T /tmp/large -H "x-amz-content-sha256: ${hash}" https://api.example.test/bucket/large`)), /^200/, await sh(box, 'head -c 2000 /tmp/answer'));
      const [request] = await got(mark);
      assert.deepEqual([request?.method, request?.headers['content-length']], ['PUT', '3000000']);
      assert.ok(request !== undefined);
      await verify(request, long);
    }
  });

  test('of temporary credentials the token goes with it, comes back to nobody, and those that are over are looked up anew', { timeout: 120_000 }, async () => {
    await using box = await scene.open({ level: 'container', secrets: ['brief'] });
    const mark = await scene.net.mark();
    assert.match(await sh(box, curl('https://api.example.test/bytes/1')), /^200/);
    const [request] = await got(mark);
    assert.ok(request !== undefined);
    await verify(request, brief);
    assert.match(await sh(box, curl('https://api.example.test/echo')), /^(?:502|000|200curl)/, 'the answer says the token');
    await box.refusals(['the answer holds a secret']);
    assert.ok(!(await sh(box, 'cat /tmp/answer')).includes((brief.sessionToken ?? '').slice(0, 12)));

    // From here on they are over soon, and each look finds others.
    const next: Keys = { ...brief, accessKeyId: 'ASIDREALNEXT12345678', secretAccessKey: randomBytes(20).toString('hex') };
    printBrief(brief, 8_000);
    assert.equal((await scene.caisson(['secrets', 'rotate', 'brief'])).status, 0);
    printBrief(next, 3_600_000);
    for (const untilMs = performance.now() + 2 * WORKS_MS; ; ) {
      const later = await scene.net.mark();
      await sh(box, curl('https://api.example.test/bytes/1'));
      const [renewed] = await got(later);
      if (renewed?.headers['authorization']?.includes(next.accessKeyId) === true) {
        await verify(renewed, next);
        break;
      }
      assert.ok(performance.now() < untilMs, 'the credentials are never renewed');
    }
  });

  test('signs nothing else: another scope, host, method, path or clock, another sandbox, an address, a body that is not read, or a request that was changed', { timeout: 180_000 }, async () => {
    await using box = await scene.open({ level: 'container', secrets: ['narrow'], rules: [{ host: 'other.example.test', protocol: 'https' }, { host: HOST, protocol: 'https' }] });
    await using other = await scene.open({ level: 'container', secrets: ['narrow'] });
    const first = await scene.net.mark();
    assert.match(await sh(box, curl('https://api.example.test/bucket/key')), /^200/, 'control');
    const [request] = await got(first);
    assert.ok(request !== undefined);
    await verify(request, long);
    const mark = await scene.net.mark();
    const attempts: readonly (readonly [string, RegExp])[] = [
      [curl('https://api.example.test/bucket/key', { scope: 'us-east-1:s3' }), /none of its regions/],
      [curl('https://api.example.test/bucket/key', { scope: 'eu-west-1:iam' }), /none of its services/],
      [curl('https://other.example.test/bucket/key'), /none of its hosts/],
      [curl('-X DELETE https://api.example.test/bucket/key'), /none of its methods/],
      [curl('https://api.example.test/other/key'), /none of its paths/],
      [curl('--path-as-is https://api.example.test/bucket/../other/key'), /not clear/],
      [curl('https://api.example.test/bucket/..%2fother'), /not clear/],
      [curl('-H "X-Copy: $AWS_SECRET_ACCESS_KEY" https://api.example.test/bucket/key'), /elsewhere than as sigv4/],
      ['curl -sS -o /tmp/answer "https://api.example.test/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=$AWS_ACCESS_KEY_ID%2F20261127%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=00"', /signed in its query is not signed anew/],
      [`curl -sS -o /tmp/answer -H "X-Amz-Date: 20200101T000000Z" -H "Authorization: AWS4-HMAC-SHA256 Credential=$AWS_ACCESS_KEY_ID/20200101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=${'0'.repeat(64)}" https://api.example.test/bucket/key`, /from the clock of the gate/],
      [curl('https://api.example.test/bucket/key').replace('$AWS_SECRET_ACCESS_KEY', 'another'), /its signature is not the one/],
      [`head -c 1100000 /dev/zero > /tmp/large; ${curl('-X PUT -H "Content-Type: text/plain" --data-binary @/tmp/large https://api.example.test/bucket/key', { scope: 'eu-west-1:sqs' })}`, /at most 1048576 bytes.*X-Amz-Content-Sha256/],
    ];
    for (const [script, why] of attempts) assert.match(await sh(box, `${script}; cat /tmp/answer`), why, script);
    const theirs = await sh(other, 'printf %s "$AWS_ACCESS_KEY_ID"');
    assert.deepEqual(await got(mark), [], 'nothing was sent');
    await sh(box, curl('https://api.example.test/bucket/key').replaceAll('$AWS_ACCESS_KEY_ID', theirs).replaceAll('$AWS_SECRET_ACCESS_KEY', theirs + theirs));
    const [text] = await got(mark);
    assert.match(text?.headers['authorization'] ?? '', new RegExp(`Credential=${theirs}/`), 'the placeholder of another sandbox is only a text');
  });
});

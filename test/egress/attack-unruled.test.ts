import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Level } from '@caisson/contract';
import { inside } from './internet/contact.ts';
import { noInternet } from './internet/internet.ts';
import { openScene, sinkSawNothing, type Scene } from './given.ts';

const REACH = `${import.meta.dirname}/attack-reach.py`;
const PROGRAM = readFileSync(REACH, 'utf8');
/** What a proxy is asked for, and names; more than one sandbox is told apart on record, so it has one of its own. */
const BY_PROXY = '^(connect|get|socks)';
const DIRECT = '^(?!connect|get|socks)';
/** Of the tries those that are of no use where nothing is in the way: the fake Internet cannot be told from a wall there. */
const CONTROL = '^(tcp|ping raw|doh|dot|metadata http://([0-9][0-9a-fx.]*[0-9a-f]$|\\[(f[cd]|2|64))|udp (9|1)|udp \\[|dns (by udp )?at [89])';

/** What the record must say of a try that left the sandbox. */
function onRecord(name: string): string | null {
  const place = /^(tcp|udp) (.*)$/.exec(name);
  const standIn = /^stand-in (.*)$/.exec(name);
  const dns = /^dns (by udp )?at (\d.*)$/.exec(name);
  const metadata = /^metadata http:\/\/(\[(?!::ffff|fe80).*\])$/.exec(name);
  const asked = /^(connect|get|socks) '(.*)'$/.exec(name);
  if (standIn !== null) return `connection ${standIn[1]}`;
  if (place !== null) return place[2]?.startsWith('0.') === true ? null : `packet ${place[2]}/${place[1]}`;
  if (dns !== null) return dns[2]?.startsWith('127') === true ? null : `packet ${dns[2]}:53/${dns[1] === undefined ? 'tcp' : 'udp'}`;
  if (metadata !== null) return name.includes('::a9fe') ? null : `${metadata[1]}:80/tcp`.replace('169.254.169.254', 'a9fe:a9fe');
  if (asked !== null) return (asked[2] ?? '').replaceAll('\\t', '\\x09').replace(/^[^@]*@/, '@').replace(/\?.*/, '?').replace('EXAMPLE', 'example').replace(/\.$/, '').slice(0, 100);
  return name.startsWith('doh') || name.startsWith('dot') ? `packet ${name.slice(4)}/tcp` : null;
}

/** It never left: the kernel of the sandbox itself said no. */
const INSIDE = /\tno (EPERM|EADDRNOTAVAIL|EINVAL|EACCES \[Errno 13\] Permission denied|ENOENT|EROFS|ENOTTY|gaierror|ECONNREFUSED)/;

describe('a sandbox with a link and no rule', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: ['93.184.216.34'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  test('control: where there is no wall all of it is answered', async () => {
    const said = (await inside(scene.net, ['python3', REACH, '203.0.113.77', CONTROL])).trimEnd().split('\n');
    assert.deepEqual(said.filter((line) => !line.includes('\tanswered') && !/^(tcp|udp) (198\.1|224|255|0\.)|^tcp 81\.|^raw/.test(line)), []);
    assert.ok(said.length > 40, `${said.length} tries`);
  });

  for (const level of ['container', 'gvisor'] as const satisfies readonly Level[]) {
    for (const [way, pattern] of [['directly', DIRECT], ['by the proxies', BY_PROXY]] as const) {
      test(`reaches nothing ${way}, and what it tried is on record (${level})`, async () => {
        await using other = await scene.open({ level });
        const serving = other.exec(['timeout', '25', 'python3', '-m', 'http.server', '8000']);
        await using box = await scene.open({ level });
        const mark = await scene.net.mark();
        const tries = await box.python(PROGRAM, await scene.addressOf(other), pattern);
        assert.deepEqual(tries.filter((line) => !line.includes('\tno ')), []);
        assert.ok(tries.length > 100, `${tries.length} tries`);
        await sinkSawNothing(scene, mark);

        const expected = tries.filter((line) => !INSIDE.test(line)).flatMap((line) => onRecord(line.split('\t')[0] ?? '') ?? []);
        assert.ok(expected.length > 40, `${expected.length} of them left`);
        await box.refusals(expected);
        assert.ok((await other.events()).every(({ event, what }) => event !== 'refused' || what === 'name'), 'nothing is put down to the other');
        await other[Symbol.asyncDispose]();
        await serving;
      });
    }
  }
});

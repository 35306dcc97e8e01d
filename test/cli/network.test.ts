import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { NetworkInfo } from '@caisson/sdk';
import type { RunResult } from '@caisson/contract';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, type Said } from './given.ts';

const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;
/** What tries to reach a name and gets no answer: the gate refuses it, and nothing leaves this machine. */
const tries = (...hosts: readonly string[]): readonly string[] => ['sh', '-c', `for host in ${hosts.join(' ')}; do getent hosts $host; done; exit 3`];

describe('the network of sandboxes, by the command line', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  before(async () => {
    caisson = await startCaisson();
  });
  after(() => caisson[Symbol.asyncDispose]());
  const run = (...args: readonly string[]): Promise<Said> => cli(caisson.env, args);
  const ok = async (...args: readonly string[]): Promise<string> => {
    const end = await run(...args);
    assert.equal(end.status, 0, said(end));
    return end.stdout.toString();
  };
  const info = async (...args: readonly string[]): Promise<NetworkInfo> => JSON.parse(await ok('network', ...args, '--json')) as NetworkInfo;

  test('network shows rules and refusals, replaces the rules, and adds to them', async () => {
    const id = (await ok('create', '--name', 'net', '--allow', 'a.test')).trim();
    assert.equal((await run('exec', 'net', '--', ...tries('b.test'))).status, 3);
    const shown = await ok('network', 'net');
    assert.match(shown, /^allow +a\.test +443 +-/m);
    assert.match(shown, /^b\.test +\d+ +\d+s ago +no rule of the call allows b\.test on any port +--allow b\.test$/m);
    assert.deepEqual((await info(id)).rules, [{ host: 'a.test' }]);
    assert.deepEqual((await info('net', '--allow', 'b.test:80', '--allow', 'c.test:22/tcp')).rules, [{ host: 'b.test', port: 80 }, { host: 'c.test', port: 22, protocol: 'tcp' }]);
    assert.deepEqual((await info('net', '--add', '--allow', '*.d.test')).rules.map(({ host }) => host), ['b.test', 'c.test', '*.d.test']);
    const file = `${caisson.dir}/rules.json`;
    writeFileSync(file, JSON.stringify({ rules: [{ host: 'e.test', effect: 'deny' }] }));
    assert.deepEqual((await info('net', '--policy', file, '--allow', 'f.test')).rules, [{ host: 'e.test', effect: 'deny' }, { host: 'f.test' }]);
    assert.match(await ok('network', 'net'), /^deny +e\.test +\* /m);
    rmSync(file);
    await ok('rm', 'net');
  });

  test('NETWORK_ABSENT: a sandbox without a network is told to be that, with what can be done', async () => {
    const id = (await ok('create')).trim();
    for (const args of [[], ['--allow', 'a.test']]) {
      const { status, stderr } = await run('network', id, ...args);
      assert.equal(status, 1);
      assert.match(stderr, /NETWORK_ABSENT: sandbox sbx-\w+ was made without a network/);
      assert.match(stderr, /^hint: make one with --allow HOST/m);
    }
    const { status, stderr } = await run('network', id, '--add');
    assert.notEqual(status, 0);
    assert.match(stderr, /USAGE: --add needs --allow or --policy/);
    await ok('rm', id);
  });

  test('a run that failed says what was refused, at most five of it; one that succeeded says nothing', async () => {
    const failed = await run('run', '--allow', 'a.test', '--', ...tries('b.test', 'c.test'));
    assert.equal(failed.status, 3);
    assert.deepEqual(failed.stderr.split('\n').filter((line) => line.includes('was refused')).sort(), ['b.test', 'c.test'].map((host) => `caisson: network: ${host} was refused: no rule of the call allows ${host} on any port; would be allowed by --allow ${host}`));
    const many = await run('run', '--allow', 'a.test', '--', ...tries(...Array.from({ length: 9 }, (_, n) => `h${n}.test`)));
    assert.equal(many.stderr.match(/was refused/g)?.length, 5, many.stderr);
    assert.match(many.stderr, /^caisson: network: \d+ further attempts were refused$/m);
    const fine = await run('run', '--allow', 'a.test', '--', 'sh', '-c', 'getent hosts b.test; exit 0');
    assert.deepEqual([fine.status, fine.stderr], [0, '']);
    const { network } = JSON.parse((await run('run', '--json', '--allow', 'a.test', '--', ...tries('b.test'))).stdout.toString()) as RunResult;
    assert.deepEqual([network?.connections, network?.refused.map(({ what, to }) => [what, to])], [[], [['name', 'b.test']]]);
    const without = JSON.parse((await run('run', '--json', '--', 'false')).stdout.toString()) as RunResult;
    assert.equal(without.network, null);
  });
});

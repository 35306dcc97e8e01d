import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cli } from '../cli/given.ts';
import { HOME, IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { AT, mirrored } from './mirrored.ts';

/** Waits from inside for the first records, and prints them. */
const SEE = `until [ -s ${AT} ]; do sleep 0.05; done; cat ${AT}`;

/** The sandboxes that the records in a mirror are of. */
const sandboxesOf = (text: string): readonly string[] => text.trimEnd().split('\n').map((line) => (JSON.parse(line) as { sandbox_job: string }).sandbox_job);

describe('a mirror of records, by each way to one', { skip: IS_ROOT ? false : NEEDS_ROOT, concurrency: false }, () => {
  const { dir, caisson, create } = mirrored();

  test('a sandbox that was prepared has the records of who claimed it, from the first on, and of nobody else', async () => {
    for (const lastMs = Date.now() + 20_000; ; await delay(200)) {
      await using box = await create();
      const { stdout } = await box.exec(['sh', '-c', SEE]);
      assert.deepEqual(sandboxesOf(stdout), [box.id]);
      if ((await box.info()).warm) return;
      assert.ok(Date.now() < lastMs, 'none was prepared within 20 s');
    }
  });

  test('run --audit-mirror and create --audit-mirror have one', async () => {
    const { env } = await caisson();
    const ran = await cli(env, ['run', '--audit-mirror', '--', 'sh', '-c', SEE]);
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(sandboxesOf(ran.stdout.toString()).length, 1);
    const id = (await cli(env, ['create', '--audit-mirror'])).stdout.toString().trim();
    const seen = await cli(env, ['exec', id, '--', 'sh', '-c', SEE]);
    assert.deepEqual(sandboxesOf(seen.stdout.toString()), [id], seen.stderr);
    assert.equal((await cli(env, ['rm', id])).status, 0);
  });

  test('Sandbox.create(audit_mirror=True) of Python has one', async () => {
    const { paths } = await caisson();
    const script = `from caisson import Sandbox\nwith Sandbox.create(audit_mirror=True) as box:\n    print(box.id)\n    print(box.exec(['sh', '-c', ${JSON.stringify(SEE)}]).stdout, end='')`;
    const { stdout } = await promisify(execFile)('python3', ['-c', script], { env: { ...process.env, PYTHONPATH: `${HOME}/sdk/python/src`, PYTHONDONTWRITEBYTECODE: '1', CAISSON_API_SOCKET: paths.apiSocket } });
    const [id = '', ...lines] = stdout.trimEnd().split('\n');
    assert.deepEqual(sandboxesOf(lines.join('\n')), [id]);
  });

  test('a fork with memory has its own, and its original goes on with the one it had', async (t) => {
    if (!(await (await caisson()).levels()).includes('gvisor')) return t.skip('level gvisor is not available here');
    await using box = await create({ level: 'gvisor' });
    await box.exec(['sh', '-c', SEE]);
    await using fork = await box.fork({ memory: true });
    assert.deepEqual(new Set(sandboxesOf((await fork.exec(['sh', '-c', SEE])).stdout)), new Set([fork.id]));
    assert.deepEqual(new Set(sandboxesOf((await box.exec(['sh', '-c', SEE])).stdout)), new Set([box.id]));
  });

  test('no copy of a workspace has it: not a download, not a snapshot or what differs from one, not what is accepted', async () => {
    const { env } = await caisson();
    await using box = await create();
    await box.exec(['sh', '-c', `echo x > mine; ${SEE}`]);
    const place = mkdtempSync(`${dir}/copies-`);
    await box.files.download('/workspace', `${place}/down`);
    assert.deepEqual(readdirSync(`${place}/down`), ['mine']);
    const { matches } = await box.files.search('/workspace', { name: '*' });
    assert.deepEqual(matches.map(({ path }) => path), ['/workspace/mine']);
    const { id: snapshot } = await box.snapshot();
    await using of = await create({ from: snapshot, auditMirror: false });
    assert.equal((await of.exec(['ls', '-A'])).stdout, 'mine\n');
    await box.exec(['sh', '-c', 'echo y > second']);
    assert.deepEqual((await box.changes({ from: snapshot })).changes.map(({ path }) => path), ['second']);

    mkdirSync(`${place}/in`);
    writeFileSync(`${place}/in/kept`, 'x');
    const ran = await cli(env, ['run', '--audit-mirror', '--in', `${place}/in`, '--', 'sh', '-c', `echo z > made; ${SEE}`]);
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(sandboxesOf(ran.stdout.toString()).length, 1);
    const id = /caisson changes (sbx-[0-9a-z]{16})/.exec(ran.stderr)?.[1] ?? assert.fail(ran.stderr);
    const accepted = await cli(env, ['accept', id]);
    assert.equal(accepted.status, 0, accepted.stderr);
    assert.deepEqual(readdirSync(`${place}/in`).toSorted((a, b) => (a < b ? -1 : 1)), ['kept', 'made']);
  });
});

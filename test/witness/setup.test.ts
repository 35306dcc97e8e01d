import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { formatVerifierKey } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { runProgram, tempFolder } from '../verify/given.ts';
import { makeWitness, newLog, requestFor, send, serveWitness } from './given.ts';

const program = (...args: readonly string[]): ReturnType<typeof runProgram> => runProgram([process.execPath, '--disable-warning=ExperimentalWarning', `${HOME}/apps/cli/src/main.ts`, 'witness', ...args]);

suite('a witness is set up', () => {
  test('with a key that only its owner reads, and a second set-up takes none of it away', async (t) => {
    const dir = tempFolder(t);
    const made = await program('init', 'witness.example/w1', '--dir', dir);
    assert.match(made.stdout, /^witness\.example\/w1\+[0-9a-f]{8}\+B[A-Za-z0-9+/]+=*\n$/, made.stderr);
    assert.equal(statSync(join(dir, 'witness.key')).mode & 0o777, 0o600);
    const before = readFileSync(join(dir, 'witness.key'));
    assert.match((await program('init', 'other', '--dir', dir)).stderr, /WITNESS_INVALID/);
    assert.deepEqual(readFileSync(join(dir, 'witness.key')), before);
    assert.equal((await program('key', '--config', join(dir, 'witness.json'))).stdout, made.stdout);
    assert.match((await program('init', 'two words', '--dir', dir)).stderr, /USAGE/);
  });

  test('WITNESS_INVALID: nothing is served when key, configuration or record is in doubt', async (t) => {
    const log = newLog(3);
    const vkey = formatVerifierKey(log.signer.publicKey);
    const logs = (key: string): object => ({ key: 'witness.key', state: 'state', listen: { port: 0 }, logs: [{ origin: 'x', key }] });
    const change = (value: object) => ({ config }: { config: string }): void => writeFileSync(config, JSON.stringify(value));
    const doubts: readonly (readonly [string, (given: { dir: string; config: string }) => void, RegExp])[] = [
      ['a key that others may read', ({ dir }) => chmodSync(join(dir, 'witness.key'), 0o640), /others may read/],
      ['a key that is gone', ({ dir }) => rmSync(join(dir, 'witness.key')), /ENOENT/],
      ['a key that is none', ({ dir }) => writeFileSync(join(dir, 'witness.key'), 'PRIVATE+KEY+x'), /no key of a witness/],
      ['no memory', ({ dir }) => rmSync(join(dir, 'state'), { recursive: true }), /there is no folder/],
      ['a field that is unknown', change({ ...logs(vkey), quorum: 1 }), /quorum/],
      ['a log with the key of a witness', ({ dir, config }) => writeFileSync(config, JSON.stringify(logs(readFileSync(join(dir, 'witness.key'), 'utf8')))), /no verifier key of a log/],
      ['a text that is no JSON', ({ config }) => writeFileSync(config, '{'), /JSON/],
      ['a port that is taken', ({ config }) => writeFileSync(config, JSON.stringify({ ...logs(vkey), listen: { host: '203.0.113.1', port: 1 } })), /cannot listen/],
    ];
    for (const [what, doubt, said] of doubts) {
      const witness = await makeWitness(t, [log]);
      doubt(witness);
      const { status, stderr } = await program('run', '--config', witness.config);
      assert.match(stderr, /WITNESS_INVALID/, what);
      assert.match(stderr, said, what);
      assert.equal(status, 1, what);
    }
  });

  test('and starts not, and signs nothing, when a record is damaged', async (t) => {
    const log = newLog(3);
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    assert.equal((await send(url, await requestFor(log, 0, 2))).status, 200);
    const state = join(witness.dir, 'state');
    const folder = join(state, readdirSync(state)[0] as string);
    writeFileSync(join(folder, readdirSync(folder)[0] as string), 'damaged\n');
    assert.equal((await send(url, await requestFor(log, 2, 3))).status, 500);
    await assert.rejects(serveWitness(t, witness), { code: 'WITNESS_INVALID' });
  });

  test('and signs nothing that it cannot keep', async (t) => {
    const log = newLog(3);
    const witness = await makeWitness(t, [log]);
    const { url } = await serveWitness(t, witness);
    rmSync(join(witness.dir, 'state'), { recursive: true });
    assert.equal((await send(url, await requestFor(log, 0, 2))).status, 500);
    mkdirSync(join(witness.dir, 'state'));
    assert.equal((await send(url, await requestFor(log, 0, 2))).status, 200);
  });
});

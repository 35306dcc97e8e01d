import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { directoryStore, fetchFromDirectory, PositionFile, Shipper } from '@caisson/archive';
import { folderFetch, openFileLog, publishedKeys, rotateKey } from '@caisson/evidence';
import { formatVerifierKey, type PublicKey } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { runProgram, tempFolder, type Ended } from './given.ts';

const made = spawnSync(`${HOME}/tools/fsck.sh`, { env: { ...process.env, CAISSON_HOME: HOME }, encoding: 'utf8' });
const skipFsck = made.status === 0 ? false : made.stderr.trim();

interface Given {
  readonly at: (name: string) => string;
  readonly caisson: (...argv: readonly string[]) => Promise<Ended>;
  readonly from: PublicKey;
  readonly to: PublicKey;
}

/** A log of 20 entries, a rotation and ten more; `old.json` is a signed state from before, `old.checkpoint` the head then, `archive` an archive of all of it. */
async function rotated(t: TestContext): Promise<Given> {
  const dir = tempFolder(t);
  const at = (name: string): string => join(dir, name);
  const caisson = (...argv: readonly string[]): Promise<Ended> => runProgram([join(HOME, 'caisson'), ...argv], { ...process.env, CAISSON_DIR: at('none') });
  const add = async (count: number): Promise<void> => {
    await using log = await openFileLog({ dir: at('log'), now: Date.now });
    for (let index = 0; index < count; index++) await log.append({ kind: 'lifecycle', source: 'control', subject: 'sbx-1', body: { event: 'x' } });
  };
  mkdirSync(at('archive'));
  const ship = async (): Promise<void> => {
    const store = directoryStore(at('archive'));
    const logKeys = (): Promise<readonly PublicKey[]> => publishedKeys(folderFetch(at('log')));
    const shipper = new Shipper({ store, local: fetchFromDirectory(at('log')), position: await PositionFile.open(at('position.json'), store.name), logKeys, signal: new AbortController().signal });
    assert.equal((await shipper.ship()).state, 'current');
  };
  await add(20);
  await ship();
  const state = await caisson('checkpoint', 'create', '--dir', at('log'), '--out', dir);
  assert.equal(state.status, 0, state.stderr);
  writeFileSync(at('old.json'), readFileSync(state.stdout.trim()));
  writeFileSync(at('old.checkpoint'), readFileSync(at('log/checkpoint')));
  const keys = await rotateKey({ dir: at('log'), now: Date.now });
  await add(10);
  await ship();
  return { at, caisson, ...keys };
}

suite('who has only the old key, or only the new one, of a log whose key was replaced', () => {
  test('is told by every reader of ours what it would be told of another log', async (t) => {
    const { at, caisson, from, to } = await rotated(t);
    for (const key of [from, to].map(formatVerifierKey)) {
      for (const argv of [
        ['audit', 'verify', '--dir', at('log')], ['audit', 'verify', '--archive', at('archive')], ['audit', 'report', '--dir', at('log')], ['audit', 'report', '--archive', at('archive')],
        ['replay', '--dir', at('log')], ['inspect', '--dir', at('log')], ['verify-pointers', '--dir', at('log')], ['checkpoint', 'verify', at('old.json'), '--full', '--dir', at('log')], ['checkpoint', 'verify', at('old.json'), '--dir', at('log')],
      ]) {
        const { status, stdout, stderr } = await caisson(...argv, '--key', key);
        assert.equal(status, 0, `${argv.join(' ')} ${key}: ${stdout}${stderr}`);
      }
    }
  });

  test('goes over from the old key by the proof of the entry that hands on, and by no other', async (t) => {
    const { at, caisson, from, to } = await rotated(t);
    for (const index of [3, 20, 25]) assert.equal((await caisson('audit', 'prove', String(index), '--dir', at('log'), '--out', at(`${index}.proof`))).status, 0);
    const check = async (key: PublicKey, ...more: readonly string[]): Promise<number | null> => (await caisson('audit', 'check-proof', at('25.proof'), '--key', formatVerifierKey(key), ...more)).status;
    assert.equal(await check(to), 0);
    assert.equal(await check(from), 1);
    assert.equal(await check(from, '--rotation', at('20.proof')), 0);
    assert.equal(await check(from, '--rotation', at('3.proof')), 1);
    const forged = readFileSync(at('20.proof'), 'utf8').split('\n');
    const at1 = forged.findIndex((line) => line.startsWith('extra '));
    const entry = Buffer.from((forged[at1] as string).slice(6), 'base64').toString('utf8').replace('"index":20', '"index":19');
    forged[at1] = `extra ${Buffer.from(entry).toString('base64')}`;
    writeFileSync(at('forged.proof'), forged.join('\n'));
    assert.equal(await check(from, '--rotation', at('forged.proof')), 1);
  });

  test('sees a checkpoint of its archive that was put back to before the rotation for what it is', async (t) => {
    const { at, caisson, from, to } = await rotated(t);
    writeFileSync(at('archive/checkpoint'), readFileSync(at('old.checkpoint')));
    for (const key of [from, to]) {
      const { status, stdout } = await caisson('audit', 'verify', '--archive', at('archive'), '--key', formatVerifierKey(key), '--json');
      assert.deepEqual([status, (JSON.parse(stdout) as { entries: number }).entries], [0, 31], stdout);
    }
  });

  test('has to give the fsck of transparency-dev/tessera the new key: it takes the head alone, and follows nothing', { skip: skipFsck }, async (t) => {
    const { at, from, to } = await rotated(t);
    const ask = async (key: PublicKey): Promise<string> => {
      writeFileSync(at('key'), `${formatVerifierKey(key)}\n`);
      return (await runProgram(['timeout', '10', made.stdout.trim(), '--ui=false', '-N=8', `--storage_url=file://${at('log')}/`, `--public_key=${at('key')}`])).stderr;
    };
    assert.match(await ask(to), /Successfully fsck'd log with size 31 /);
    assert.doesNotMatch(await ask(from), /Successfully/);
  });
});

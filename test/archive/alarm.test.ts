import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { instanceId, type Alert } from '@caisson/contract';
import { verifyLog } from '@caisson/evidence';
import { processUids } from '@caisson/runtime';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { folder } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;

interface Injury {
  readonly state: 'fenced' | 'forked' | 'damaged';
  readonly what: string;
  readonly reason: RegExp;
  /** Injures the store or the log, and records something. @returns what an operator does about it while Caisson is down */
  readonly injure: (place: Place, store: string) => Promise<() => void>;
}

async function run({ env }: Place): Promise<void> {
  const { status, stderr } = await cli(env, ['run', '--', 'true']);
  assert.equal(status, 0, stderr);
}

/** Gives the head in the store a line of another signer: it is good, and not the one that was written. */
async function resign(place: Place, store: string): Promise<() => void> {
  const before = readFileSync(`${store}/checkpoint`);
  appendFileSync(`${store}/checkpoint`, '— another.example/writer AAAAAAAA\n');
  await run(place);
  return () => writeFileSync(`${store}/checkpoint`, before);
}

async function lose(place: Place, store: string): Promise<() => void> {
  const before = readFileSync(`${store}/checkpoint`);
  const { uid, gid } = statSync(`${store}/checkpoint`);
  rmSync(`${store}/checkpoint`);
  await run(place);
  return () => {
    writeFileSync(`${store}/checkpoint`, before, { mode: 0o600 });
    chownSync(`${store}/checkpoint`, uid, gid);
  };
}

/** Changes a byte of the entries that were published last, before they are archived. */
async function damage(place: Place, store: string): Promise<() => void> {
  renameSync(store, `${store}-away`);
  const before = newestBundle(place);
  await run(place);
  const isAllPublished = async (): Promise<boolean> => { const { published, entries } = await verifyLog(place.paths.evidence); return published === entries; };
  for (const lastMs = Date.now() + 10_000; newestBundle(place) === before || !(await isAllPublished()); await delay(20)) assert.ok(Date.now() < lastMs, 'it is published');
  const path = newestBundle(place);
  const whole = readFileSync(path);
  writeFileSync(path, whole.with(whole.length - 2, (whole.at(-2) ?? 0) ^ 1));
  renameSync(`${store}-away`, store);
  return () => writeFileSync(path, whole);
}

function newestBundle({ paths }: Place): string {
  const dir = `${paths.evidence}/tile/entries`;
  const partial = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => /\.p\/\d+$/.test(name));
  const widthOf = (name: string): number => Number(name.split('/').at(-1));
  return `${dir}/${partial.toSorted((a, b) => widthOf(a) - widthOf(b)).at(-1) ?? ''}`;
}

const INJURIES: readonly Injury[] = [
  { state: 'fenced', what: 'a head that another writer has put there', reason: /another writer has written the head there/, injure: resign },
  { state: 'forked', what: 'a head that is gone', reason: /the head that was written there is gone/, injure: lose },
  { state: 'damaged', what: 'an entry here that is not the one that was signed', reason: /tile\/entries/, injure: damage },
];

async function start({ env }: Place): Promise<void> {
  const up = await cli(env, ['up', '--detach']);
  assert.equal(up.status, 0, up.stderr);
}

async function alerts({ env }: Place, until: (names: readonly string[]) => boolean): Promise<readonly Alert[]> {
  for (const lastMs = Date.now() + 20_000; ; await delay(50)) {
    const { stdout } = await cli(env, ['status', '--json']);
    const { alerts: told } = (JSON.parse(stdout.toString()) as { control: { alerts: readonly Alert[] } }).control;
    if (until(told.map(({ alert }) => alert))) return told;
    assert.ok(Date.now() < lastMs, `not within 20 s: ${JSON.stringify(told)}`);
  }
}

for (const { state, what, reason, injure } of INJURIES) {
  test(`archive-${state}: ${what} is an alert, and is cleared when it is over`, { skip }, async () => {
    await using place = emptyPlace();
    using own = folder();
    const { archiver } = processUids(instanceId(place.dir));
    const store = `${own.path}/store`;
    mkdirSync(store, { mode: 0o700 });
    chownSync(store, archiver, archiver);
    chmodSync(own.path, 0o711);
    writeFileSync(place.paths.archiveConfig, JSON.stringify({ kind: 'directory', path: store, everyMs: 50 }));
    await start(place);
    await run(place);
    for (const lastMs = Date.now() + 10_000; !readdirSync(store).includes('checkpoint'); await delay(20)) assert.ok(Date.now() < lastMs, 'it is archived');
    const mend = await injure(place, store);
    const [alert] = (await alerts(place, (names) => names.includes(`archive-${state}`))).filter(({ alert: name }) => name === `archive-${state}`);
    assert.equal(alert?.severity, 'critical');
    assert.match(alert?.reason ?? '', reason);
    await cli(place.env, ['down']);
    mend();
    rmSync(`${place.paths.archive}/position.json`, { force: true });
    await start(place);
    await alerts(place, (names) => !names.includes(`archive-${state}`));
  });
}

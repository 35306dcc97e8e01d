import assert from 'node:assert/strict';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Alert } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

const NAME = 'mirror-behind';

test('mirror-behind: a mirror that cannot be written, and a writer that hangs, are alerts, and are cleared when it is over and all is written', { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  try {
    const shipped = JSON.parse(readFileSync(`${HOME}/profiles/policies/default.json`, 'utf8')) as object;
    writeFileSync(`${dir}/policy.json`, JSON.stringify({ ...shipped, auditMirror: true }));
    await using caisson = await startCaisson({ dir });
    const connection = { socket: caisson.paths.apiSocket };
    await using box = await Sandbox.create({ auditMirror: true }, { connection });
    await using other = await Sandbox.create({ auditMirror: true }, { connection });
    const ofBox = fileOf(caisson, box);
    const { uid, gid } = statSync(ofBox);
    assert.deepEqual(await alarms(caisson), []);

    chownSync(ofBox, 0, 0);
    process.kill(await writer(caisson), 'SIGKILL'); // the next one has to open it
    assert.match((await told(caisson, (alerts) => alerts.length > 0))[0]?.reason ?? '', /EACCES/);
    await box.exec(['true']);
    await other.exec(['true']);
    await reach(fileOf(caisson, other), 1);
    chownSync(ofBox, uid, gid);
    await told(caisson, (alerts) => alerts.length === 0);
    await reach(ofBox, 1);

    const hanging = await writer(caisson);
    process.kill(hanging, 'SIGSTOP');
    try {
      await box.exec(['true']);
      const [alert] = await told(caisson, (alerts) => alerts.length > 0);
      assert.match(alert?.reason ?? '', /nothing is heard/);
      assert.deepEqual(alert?.about, ['mirror']);
    } finally {
      process.kill(hanging, 'SIGCONT');
    }
    await told(caisson, (alerts) => alerts.length === 0);
    await reach(ofBox, 2);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

async function alarms(caisson: Caisson): Promise<readonly Alert[]> {
  return (await caisson.control()).alerts.filter(({ alert }) => alert === NAME);
}

async function told(caisson: Caisson, until: (alerts: readonly Alert[]) => boolean): Promise<readonly Alert[]> {
  for (const lastMs = Date.now() + 20_000; ; await delay(50)) {
    const alerts = await alarms(caisson);
    if (until(alerts)) return alerts;
    assert.ok(Date.now() < lastMs, `not within 20 s: ${JSON.stringify(alerts)}`);
  }
}

async function writer(caisson: Caisson): Promise<number> {
  const { processes } = await caisson.status();
  return processes.find(({ name }) => name === 'mirror')?.pid ?? assert.fail('nobody writes mirrors');
}

/** The file that a sandbox reads, from outside. */
function fileOf({ paths }: Caisson, { id }: Sandbox): string {
  const folder = readdirSync(paths.mirrors).find((name) => readFileSync(`${paths.mirrors}/${name}/of.json`, 'utf8').includes(id));
  return `${paths.mirrors}/${folder ?? assert.fail('it has no mirror')}/audit.jsonl`;
}

/** Resolves when so many records are in a mirror, and fails when there are more. */
async function reach(file: string, count: number): Promise<void> {
  const lines = (): number => readFileSync(file, 'utf8').split('\n').length - 1;
  for (const lastMs = Date.now() + 10_000; lines() < count; await delay(50)) assert.ok(Date.now() < lastMs, `${lines()} of ${count} records`);
  assert.equal(lines(), count);
}

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { doctor, PROBES, type DoctorReport } from '@caisson/cli';
import { open } from '@caisson/sandbox';
import { openGround, type Ground } from '../drivers/given.ts';
import { besideDockerd } from '../drivers/in-docker.ts';
import { HOME } from '../harness.ts';
import { shippedPolicy, shippedSeccomp } from '../isolation/given.ts';
import { MemoryLog } from '../sandbox/given.ts';
import { NotedGate, NotedVault } from '../sandbox/noted.ts';

type Doctor = Parameters<typeof doctor>[0];

/** One call in one fresh sandbox of the Docker driver, decided, attested and ended as every call is. */
function runOn({ host, driver }: Ground): Doctor['run'] {
  return async (request, stdin) => {
    const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    const result = await open(
      request,
      {
        name: 'doctor',
        signal: new AbortController().signal,
        stdin: (async function* () {
          yield stdin;
        })(),
        write: async (stream, bytes) => void written[stream].push(bytes),
      },
      {
        policy: { value: shippedPolicy, sha256: 'a'.repeat(64) },
        seccomp: shippedSeccomp,
        evidence: new MemoryLog(),
        doubts: { add: () => undefined, addNotBegun: () => undefined },
        gate: new NotedGate(), vault: new NotedVault(), wallMs: Date.now,
        host: async () => host,
        launch: (spec, options) => driver.launch(spec, options),
        now: () => performance.now(),
        randomBytes,
      },
    );
    return { result, stdout: Buffer.concat(written.stdout), stderr: Buffer.concat(written.stderr) };
  };
}

await besideDockerd(import.meta.filename, () => {
  suite('the walls of a sandbox in Docker', () => {
    test('hold against every attack of the doctor', async (t) => {
      await using ground = await openGround('docker');
      let text = '';
      await doctor({
        run: runOn(ground),
        status: async () => ({ host: ground.host, policySha256: '', evidenceHead: null, alerts: [], calls: [] }),
        probePath: `${HOME}/build/native/caisson-probe`,
        levels: ['container'],
        out: (more) => void (text += more),
        json: true,
      });
      const [report] = (JSON.parse(text) as DoctorReport).levels;
      assert.equal(report?.delivered, 'container');
      assert.equal(report.runtime, 'docker');
      for (const { id, title, except } of PROBES) {
        if (except?.container !== undefined) continue;
        await t.test(`in Docker an agent cannot ${title}`, (each) => {
          const finding = report.findings.find((found) => found.id === id);
          assert.ok(finding, `${id} was not tried`);
          if (finding.verdict === 'unproven') return each.skip(`${id}: ${finding.why}`);
          assert.equal(finding.verdict, 'held', `${finding.why}; the attacker saw: ${finding.saw}`);
        });
      }
    });
  });
});

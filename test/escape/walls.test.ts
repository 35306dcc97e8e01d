import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { doctor, PROBES, type DoctorReport } from '@caisson/cli';
import { LEVELS, type Level } from '@caisson/contract';
import { HOME, IS_ROOT, NEEDS_ROOT, startCaisson } from '../harness.ts';

const PROBE_PATH = `${HOME}/build/native/caisson-probe`;
const skip = !IS_ROOT ? NEEDS_ROOT : existsSync(PROBE_PATH) ? false : 'the probe is not built: ./dev test builds it where gcc is present';

/** Every attack on one level, through a real daemon, by the doctor that users have. */
async function attack(level: Level): Promise<DoctorReport> {
  await using caisson = await startCaisson();
  let text = '';
  await doctor({
    run: (request, stdin) => caisson.run(request, stdin),
    status: () => caisson.control(),
    probePath: PROBE_PATH,
    levels: [level],
    out: (more) => void (text += more),
    json: true,
  });
  return JSON.parse(text) as DoctorReport;
}

for (const level of LEVELS) {
  test(`the walls of level ${level} hold against every attack`, { skip }, async (t) => {
    const { levels: [report], unavailable: [missing] } = await attack(level);
    if (report === undefined) return t.skip(`level ${level} is not available here: ${missing?.what}`);
    assert.equal(report.delivered, level);
    for (const { id, title, except } of PROBES) {
      if (except?.[level] !== undefined) continue;
      await t.test(`at level ${level} an agent cannot ${title}`, (each) => {
        const finding = report.findings.find((found) => found.id === id);
        assert.ok(finding, `${id} was not tried`);
        if (finding.verdict === 'unproven') return each.skip(`${id}: ${finding.why}`);
        assert.equal(finding.verdict, 'held', `${finding.why}; the attacker saw: ${finding.saw}`);
      });
    }
  });
}

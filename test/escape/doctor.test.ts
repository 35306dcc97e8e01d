import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { doctor, PROBES, type DoctorReport, type Probe } from '@caisson/cli';
import type { ControlStatus, Level, RunRequest, RunResult } from '@caisson/contract';
import { HOME } from '../harness.ts';
import { REQUIREMENTS } from '../requirements.ts';

const PROBE_PATH = `${HOME}/build/native/caisson-probe`;
const skip = existsSync(PROBE_PATH) ? false : 'the probe is not built: ./dev test builds it where gcc is present';

/** Works outside for any user: the control has a variable that no sandbox sets. */
const FINDS_VARIABLE: Probe = { id: 'environment', title: 'find a variable', theme: 'privilege', argv: ['environment'], requirements: ['H10'], control: 'a variable' };
/** Works nowhere: the host's kernel is given a name that no kernel has. */
const WORKS_NOWHERE: Probe = { ...FINDS_VARIABLE, id: 'host-kernel', argv: ['host-kernel'] };
const UNKNOWN: Probe = { ...FINDS_VARIABLE, id: 'no-such-probe', argv: ['no-such-probe'] };

const STATUS = {
  alerts: [],
  host: {
    kernel: 'no-kernel', arch: 'x64', rootless: false, cgroup: { mode: 'v2', writable: true, controllers: [], swapAccounting: true },
    swapBytes: 0, userNamespaces: 1, seccomp: true, landlockAbi: 1, runtimes: [],
    missing: { container: null, gvisor: null, microvm: { what: 'no monitor', how: 'install one' } },
  },
} as unknown as ControlStatus;

interface Examination {
  readonly probes?: readonly Probe[];
  readonly json?: boolean;
  /** Level that the sandboxes say they have. */
  readonly delivered?: Level | null;
  readonly levels?: readonly Level[];
}

interface Examined {
  readonly status: number;
  readonly text: string;
  readonly requests: readonly RunRequest[];
}

/** Runs the doctor with real controls and sandboxes that answer as told. */
async function examine(stdout: string, { probes = [FINDS_VARIABLE], json = true, delivered = 'container', levels = ['container'] }: Examination = {}): Promise<Examined> {
  const requests: RunRequest[] = [];
  let text = '';
  const status = await doctor({
    run: async (request) => {
      requests.push(request);
      return { result: resultOf(delivered), stdout: Buffer.from(stdout), stderr: Buffer.alloc(0) };
    },
    status: async () => STATUS,
    probePath: PROBE_PATH,
    levels,
    out: (more) => void (text += more),
    json,
    probes,
  });
  return { status, text, requests };
}

function resultOf(delivered: Level | null): RunResult {
  return {
    reason: 'the command exited with 0', ending: { kind: 'exited', code: 0 }, exit: 0, timings: { attest: 7 },
    level: { requested: 'container', delivered, runtime: 'fake', kernel: 'none' },
  } as unknown as RunResult;
}

const line = (probe: string, through: boolean | null, saw = 'nothing'): string => `${JSON.stringify({ probe, through, saw })}\n`;
const verdicts = ({ text }: Examined): readonly string[] => (JSON.parse(text) as DoctorReport).levels.flatMap(({ findings }) => findings.map(({ verdict }) => verdict));

test('an attack that fails inside and works outside is a held wall, and the doctor exits 0', { skip }, async () => {
  const examined = await examine(line('environment', false));
  assert.deepEqual(verdicts(examined), ['held']);
  assert.equal(examined.status, 0);
});

test('one attack that gets through makes the doctor exit 1', { skip }, async () => {
  const examined = await examine(line('environment', true));
  assert.deepEqual(verdicts(examined), ['through']);
  assert.equal(examined.status, 1);
});

test('a probe that reports nothing is broken, and the doctor exits 1', { skip }, async () => {
  for (const stdout of ['', 'not a line\n', '{"probe":"environment","through":0,"saw":""}\n', '{"probe":"environment"', line('other', false)]) {
    const examined = await examine(stdout);
    assert.deepEqual(verdicts(examined), ['broken'], stdout);
    assert.equal(examined.status, 1);
  }
});

test('a probe that the attack program does not know is broken, though it fails inside', { skip }, async () => {
  const examined = await examine(line('no-such-probe', false), { probes: [UNKNOWN] });
  assert.deepEqual(verdicts(examined), ['broken']);
  assert.equal(examined.status, 1);
});

test('an attack that works nowhere is unproven and says why; it is not counted as held', { skip }, async () => {
  const examined = await examine(line('host-kernel', false), { probes: [WORKS_NOWHERE] });
  const { levels: [level] } = JSON.parse(examined.text) as DoctorReport;
  assert.deepEqual(level?.score, { held: 0, through: 0, unproven: 1, broken: 0 });
  assert.match(level?.findings[0]?.why ?? '', /does not work outside either: kernel /);
});

test('attacks on another level than the one asked for prove nothing', { skip }, async () => {
  for (const delivered of ['gvisor', null] as const) {
    const examined = await examine(line('environment', false), { delivered });
    assert.deepEqual(verdicts(examined), ['broken']);
  }
  assert.deepEqual(verdicts(await examine(line('environment', true), { delivered: 'gvisor' })), ['through']);
});

test('a level that is not available is listed with what is missing and is not attacked', { skip }, async () => {
  const examined = await examine(line('environment', false), { levels: ['microvm'] });
  assert.equal(examined.requests.length, 0);
  assert.deepEqual((JSON.parse(examined.text) as DoctorReport).unavailable, [{ level: 'microvm', what: 'no monitor', how: 'install one' }]);
});

test('text from a sandbox cannot drive the terminal of the doctor', { skip }, async () => {
  const { text } = await examine(line('environment', false, '\u001b[2Jall is well\r\u009b1m'), { json: false });
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  assert.match(text, /held +environment/);
});

test('the doctor leaves no canary, process or directory behind', { skip }, async () => {
  const { requests } = await examine(line('environment', false));
  const token = requests[0]?.argv.find((word) => word.startsWith('token='))?.slice('token='.length) ?? '';
  assert.match(token, /^caisson-canary-[0-9a-f]{16}$/);
  const left = ['/root', '/home', '/tmp'].filter((folder) => existsSync(`${folder}/.${token}`));
  assert.deepEqual(left, []);
  const processes = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && commandLine(pid).includes(token));
  assert.deepEqual(processes, []);
  const unix = requests[0]?.argv.find((word) => word.startsWith('unix='))?.slice('unix='.length) ?? '/';
  assert.ok(!existsSync(unix));
});

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}

test('the attack program and the table of probes name the same attacks', { skip }, () => {
  const known = execFileSync(PROBE_PATH, ['list'], { encoding: 'utf8' }).trim().split('\n');
  assert.deepEqual(new Set(PROBES.map(({ argv: [name] }) => name)), new Set(known));
  assert.equal(new Set(PROBES.map(({ id }) => id)).size, PROBES.length);
});

test('every probe proves a requirement that is in the table', () => {
  const known = new Set(REQUIREMENTS.map(({ id }) => id));
  assert.deepEqual(PROBES.flatMap(({ id, requirements }) => requirements.filter((each) => !known.has(each)).map((each) => `${id}: ${each}`)), []);
});

test('the attack program sends nothing beyond loopback when it is outside a sandbox', { skip }, () => {
  for (const name of ['metadata', 'dns', 'dns6']) {
    const output = execFileSync(PROBE_PATH, [name], { encoding: 'utf8' });
    assert.deepEqual(JSON.parse(output), { probe: name, through: null, saw: 'not tried outside a sandbox' });
  }
});

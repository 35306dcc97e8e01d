import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, suite, test, type TestContext } from 'node:test';
import type { ControlStatus, RunResult, SupervisorStatus } from '@caisson/contract';
import { againInOwnMounts, needsOwnMounts, openPerson, UID, type Person } from './given.ts';

interface Status {
  readonly up: boolean;
  readonly supervisor: SupervisorStatus;
  readonly control: ControlStatus;
}

interface Entry {
  readonly kind: string;
  readonly subject: string;
  readonly body: { readonly ending?: { readonly kind: string; readonly code: string } };
}

/** A process that has ended may stay in the table until its parent asks. */
function runs(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** Why the tests cannot run as this user; null when they can. */
function obstacle(person: Person): string | null {
  if (person.caisson('--version').status !== 0) return 'the checkout or its Node cannot be read by an unprivileged user';
  return null;
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else {
  suite('without root', () => {
    let person: Person;
    let why: string | null = null;
    before(() => {
      person = openPerson();
      why = obstacle(person);
    });
    after(() => {
      person.caisson('down');
      person[Symbol.dispose]();
    });

    const status = (): Status => JSON.parse(person.caisson('status', '--json').stdout) as Status;
    /** Skips where the host could enforce limits without root, too. */
    function skips(t: TestContext): boolean {
      const reason = why ?? (status().control.host.cgroup.writable ? 'this user has a delegated cgroup: nothing is refused' : null);
      if (reason !== null) t.skip(reason);
      return reason !== null;
    }

    test('Caisson comes up, and every process is the user\'s own', (t) => {
      if (why !== null) return t.skip(why);
      const up = person.caisson('up', '--detach');
      assert.equal(up.status, 0, up.stderr);
      const { up: isUp, supervisor, control } = status();
      assert.equal(isUp, true);
      assert.deepEqual(supervisor.processes.map(({ name }) => name), ['scribe', 'launcher', 'control']);
      for (const { pid } of [supervisor, ...supervisor.processes]) {
        assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\t${UID}\\t${UID}\\t${UID}\\t${UID}$`, 'm'));
      }
      assert.equal(control.host.rootless, true);
      assert.deepEqual(control.calls, []);
    });

    test('status says in words that cgroups cannot be written', (t) => {
      if (skips(t)) return;
      const { status: exit, stdout } = person.caisson('status');
      assert.equal(exit, 0);
      assert.match(stdout, /\(not writable\).*rootless/);
    });

    test('no other user can speak to it', (t) => {
      if (why !== null) return t.skip(why);
      const sockets = globSync(`${person.base}/run/**/*.sock`);
      assert.deepEqual(sockets.map((path) => basename(path, '.sock')).toSorted(), ['api', 'control', 'keeper', 'keys', 'launcher', 'scribe', 'supervisor']);
      for (const path of sockets) assert.equal(statSync(path).mode & 0o777, path.endsWith('scribe.sock') ? 0o660 : 0o600, path);
      if (process.getuid?.() !== 0) return;
      for (const path of sockets) {
        const other = person.as(UID - 1, [process.execPath, '-e', `require('node:net').connect('${path}').on('error', (error) => process.exit(error.code === 'EACCES' ? 13 : 1))`]);
        assert.equal(other.status, 13, `${path}: ${other.stderr}`);
      }
    });

    test('a run is HOST_LACKS_CGROUP: exit 125, what is missing, how to get it, and nothing on stdout', (t) => {
      if (skips(t)) return;
      const { status: exit, stdout, stderr } = person.caisson('run', '--', 'uname', '-a');
      assert.deepEqual([exit, stdout], [125, '']);
      assert.match(stderr, /^caisson: HOST_LACKS_CGROUP: limits cannot be enforced: the cgroup hierarchy is not writable$/m);
      assert.match(stderr, /^hint: run Caisson as root, or on a cgroup v2 host with a delegated subtree$/m);
    });

    for (const level of ['container', 'gvisor'] as const) {
      test(`a run at level ${level} starts nothing, with --json as well`, (t) => {
        if (skips(t)) return;
        const { status: exit, stdout } = person.caisson('run', '--json', '--level', level, '--', 'touch', `${person.base}/run/marker`);
        const result = JSON.parse(stdout) as RunResult;
        assert.equal(exit, 125);
        assert.deepEqual([result.exit, result.ending.kind, result.level.delivered, result.level.runtime], [125, 'refused', null, null]);
        assert.equal('code' in result.ending && result.ending.code, 'HOST_LACKS_CGROUP');
        assert.deepEqual(globSync([`${person.base}/run/caisson/*/sandboxes/*`, `${person.base}/run/marker`]), []);
        assert.deepEqual(result.usage, { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null });
      });
    }

    test('every refusal is on record, and the record verifies', (t) => {
      if (skips(t)) return;
      const entries = person.caisson('audit', 'tail', '--json').stdout.trim().split('\n').map((line) => (JSON.parse(line) as { entry: Entry }).entry);
      const intents = entries.filter(({ kind }) => kind === 'intent').map(({ subject }) => subject);
      const outcomes = entries.filter(({ kind }) => kind === 'outcome');
      assert.ok(intents.length >= 3);
      assert.deepEqual(outcomes.map(({ subject }) => subject), intents);
      for (const { body } of outcomes) assert.deepEqual([body.ending?.kind, body.ending?.code], ['refused', 'HOST_LACKS_CGROUP']);
      assert.equal(person.caisson('audit', 'verify').status, 0);
    });

    test('it goes down and leaves only its state', (t) => {
      if (why !== null) return t.skip(why);
      const { supervisor } = status();
      assert.equal(person.caisson('down').status, 0);
      for (const { pid } of [supervisor, ...supervisor.processes]) assert.equal(runs(pid), false);
      assert.deepEqual(globSync(`${person.base}/run/caisson/*`), []);
    });

    test('a run when nothing is up starts what it needs and is refused the same', (t) => {
      if (why !== null) return t.skip(why);
      const { status: exit, stderr } = person.caisson('run', '--', 'true');
      if (skips(t)) return;
      assert.equal(exit, 125);
      assert.match(stderr, /HOST_LACKS_CGROUP/);
    });
  });
}

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { askControl } from '@caisson/cli';
import type { FromControl, SecretRule, SupervisorStatus } from '@caisson/contract';
import { RemoteValues, RemoteVault } from '@caisson/vault';
import { Caller } from '@caisson/wire';
import { cli, emptyPlace, type Place } from '../cli/given.ts';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { shippedPolicy } from '../isolation/given.ts';
import { base64, cluster, secret } from './cluster.ts';
import { CANARY, files, HOST, leaseOne, rule, SANDBOX, sent } from './given.ts';

const skip = IS_ROOT ? false : NEEDS_ROOT;

interface Up extends AsyncDisposable {
  readonly place: Place;
  pids(): Promise<Readonly<Record<string, number>>>;
  processes(): Promise<SupervisorStatus['processes']>;
}

/** A whole Caisson whose policy has these secrets, started with a variable that holds one of them and one that nobody names. */
async function up(secrets: Readonly<Record<string, SecretRule>>, env: Readonly<Record<string, string>> = {}): Promise<Up> {
  const place = emptyPlace({ ...env, CAISSON_TEST_KEY: `${CANARY}-named`, CAISSON_TEST_OTHER: `${CANARY}-unnamed` });
  writeFileSync(place.paths.policy, JSON.stringify({ ...shippedPolicy, secrets }));
  const { status, stderr } = await cli(place.env, ['up', '--detach']);
  assert.equal(status, 0, stderr);
  const processes = async (): Promise<SupervisorStatus['processes']> => {
    using caller = new Caller(place.paths.supervisorSocket);
    return ((await caller.call('status', null)) as SupervisorStatus).processes;
  };
  return {
    place,
    processes,
    async pids() {
      using caller = new Caller(place.paths.supervisorSocket);
      const { pid } = (await caller.call('status', null)) as SupervisorStatus;
      return { supervisor: pid, ...Object.fromEntries((await processes()).map((one) => [one.name, one.pid])) };
    },
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

async function callsOf({ paths }: Place): Promise<number> {
  const { status } = (await askControl(paths, { type: 'status' })) as Extract<FromControl, { type: 'status' }>;
  return status.calls.length;
}

/** Processes in whose environment a text stands. */
const holding = (text: string): readonly number[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/environ`).includes(text)).map(Number).toSorted((a, b) => a - b);

test('where the policy has secrets a vault runs beside the others, and where it has none there is none', { skip }, async () => {
  await using one = await up({ key: rule('env:CAISSON_TEST_KEY') });
  assert.deepEqual((await one.processes()).map(({ name }) => name).toSorted(), ['control', 'gate', 'launcher', 'scribe', 'vault']);
  assert.match((await cli(one.place.env, ['status'])).stdout.toString(), /^ {2}vault +pid \d+/m);
  assert.equal((await cli(one.place.env, ['run', '--', 'true'])).status, 0);
  await using none = await up({});
  assert.deepEqual((await none.processes()).map(({ name }) => name).toSorted(), ['control', 'gate', 'launcher', 'scribe']);
});

test('control leases what the policy names, from every kind of source, and the gate gets the values', { skip }, async () => {
  using given = files();
  await using on = await up({ key: rule('env:CAISSON_TEST_KEY'), file: rule(`file:/${given.file('secret', 'of-a-file\n').slice(1)}`), program: rule({ exec: [given.program('op', 'echo of-a-program; env >&2')] }), unset: rule('env:CAISSON_TEST_UNSET') });
  using control = new RemoteVault(on.place.paths.vaultSocket);
  using gate = new RemoteValues(on.place.paths.vaultGateSocket);
  const leases = sent(await control.lease({ sandbox: SANDBOX, secrets: ['key', 'file', 'program'], expiresMs: null }));
  assert.deepEqual(await Promise.all(leases.map((lease) => gate.value({ sandbox: SANDBOX, lease, host: HOST }))), [`${CANARY}-named`, 'of-a-file', 'of-a-program']);
  await assert.rejects(leaseOne(control, 'unset'), { code: 'SECRET_UNAVAILABLE', message: /was not set when Caisson was started/ });
  await assert.rejects(leaseOne(control, 'none'), { code: 'SECRET_UNKNOWN' });
  assert.ok(!readFileSync(on.place.paths.log, 'utf8').includes('cnry'));
});

test('a vault that is killed comes back, and with it every lease', { skip }, async () => {
  await using on = await up({ key: rule('env:CAISSON_TEST_KEY') });
  using control = new RemoteVault(on.place.paths.vaultSocket);
  using gate = new RemoteValues(on.place.paths.vaultGateSocket);
  const lease = await leaseOne(control, 'key');
  const { vault = 0 } = await on.pids();
  process.kill(vault, 'SIGKILL');
  for (const untilMs = performance.now() + 10_000; ; await delay(50)) {
    assert.ok(performance.now() < untilMs, 'it does not come back');
    if ((await on.pids())['vault'] !== vault && (await control.list()).length > 0) break;
  }
  assert.equal(await gate.value({ sandbox: SANDBOX, lease, host: HOST }), `${CANARY}-named`);
  assert.equal((await cli(on.place.env, ['run', '--', 'true'])).status, 0);
});

test('the vault of a pod is told where the API server of its cluster is, and no other variable', { skip }, async () => {
  using dir = files();
  await using api = await cluster(dir, (_request, response) => void response.end(JSON.stringify(secret({ token: base64('of-the-cluster') }))));
  const from = { kubernetes: { namespace: 'agents', name: 'app', key: 'token', token: 'env:CAISSON_TEST_KEY', ca: `file:/${dir.dir.slice(1)}/ca.crt` } } as const;
  await using on = await up({ kube: rule(from) }, { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: `${api.port}`, KUBERNETES_OTHER: CANARY });
  using control = new RemoteVault(on.place.paths.vaultSocket);
  using gate = new RemoteValues(on.place.paths.vaultGateSocket);
  assert.equal(await gate.value({ sandbox: SANDBOX, lease: await leaseOne(control, 'kube'), host: HOST }), 'of-the-cluster');
  assert.deepEqual(api.asked.map(({ headers }) => headers.authorization), [`Bearer ${CANARY}-named`]);
  assert.ok(!read(`/proc/${(await on.pids())['vault'] ?? 0}/environ`).includes('KUBERNETES_OTHER'));
});

test('each socket of the vault is of the one process that may connect', { skip }, async () => {
  await using on = await up({ key: rule('env:CAISSON_TEST_KEY') });
  const { vaultSocket, vaultGateSocket, vaultLauncherSocket } = on.place.paths;
  const uids = Object.fromEntries((await on.processes()).map(({ name, uid }) => [name, uid]));
  for (const path of [vaultSocket, vaultGateSocket, vaultLauncherSocket]) assert.equal(statSync(path).mode & 0o777, 0o600);
  const connect = async (uid: number, gid: number, path: string): Promise<string> => {
    const script = `require('node:net').connect(${JSON.stringify(path)}).on('connect', () => { console.log('connected'); process.exit(); }).on('error', ({ code }) => console.log(code))`;
    return (await promisify(execFile)('setpriv', ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', process.execPath, '-e', script])).stdout.trim();
  };
  const { control = 0, gate = 0, scribe = 0 } = uids;
  for (const [uid, path, said] of [
    [control, vaultSocket, 'connected'], [control, vaultGateSocket, 'EACCES'], [gate, vaultGateSocket, 'connected'], [gate, vaultSocket, 'EACCES'],
    [scribe, vaultSocket, 'EACCES'], [scribe, vaultGateSocket, 'EACCES'], [65_534, vaultSocket, 'EACCES'], [65_534, vaultGateSocket, 'EACCES'],
    [0, vaultLauncherSocket, 'connected'], [control, vaultLauncherSocket, 'EACCES'], [gate, vaultLauncherSocket, 'EACCES'], [scribe, vaultLauncherSocket, 'EACCES'], [65_534, vaultLauncherSocket, 'EACCES'],
  ] as const) assert.equal(await connect(uid, control, path), said, `uid ${uid} at ${path}`);
});

test('what was in the environment of up is in no process but the supervisor, and the vault has of it what the policy names', { skip }, async () => {
  await using on = await up({ key: rule('env:CAISSON_TEST_KEY') });
  using control = new RemoteVault(on.place.paths.vaultSocket);
  await leaseOne(control, 'key');
  const running = cli(on.place.env, ['run', '--', 'sh', '-c', 'cat /proc/*/environ; sleep 1']); // it has the variables itself, as who calls has
  for (const untilMs = performance.now() + 20_000; (await callsOf(on.place)) === 0; await delay(20)) assert.ok(performance.now() < untilMs, 'the call comes');
  const { supervisor = 0, vault = 0 } = await on.pids();
  const parents = (pid: number): number => Number(/^PPid:\s+(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  const ofCaisson = (pids: readonly number[]): readonly number[] => pids.filter((pid) => pid === supervisor || parents(pid) !== process.pid);
  assert.deepEqual(ofCaisson(holding(`${CANARY}-named`)), [supervisor, vault].toSorted((a, b) => a - b));
  assert.deepEqual(ofCaisson(holding(`${CANARY}-unnamed`)), [supervisor]);
  const { stdout, status } = await running;
  assert.equal(status, 0);
  assert.ok(!stdout.includes('cnry'));
});

test('the vault leaves no core, opens no port and no debugger, and runs on where it is asked for one', { skip }, async () => {
  await using on = await up({ key: rule('env:CAISSON_TEST_KEY') });
  const { vault = 0 } = await on.pids();
  assert.match(readFileSync(`/proc/${vault}/limits`, 'utf8'), /^Max core file size +1 +1 +bytes/m);
  const listening = (): readonly string[] => {
    const sockets = readdirSync(`/proc/${vault}/fd`).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${vault}/fd/${fd}`))?.[1] ?? []);
    assert.notEqual(sockets.length, 0);
    return ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((kind) => readFileSync(`/proc/${vault}/net/${kind}`, 'utf8').split('\n').slice(1)).filter((line) => sockets.includes(line.trim().split(/\s+/)[9] ?? ''));
  };
  assert.deepEqual(listening(), []);
  process.kill(vault, 'SIGUSR1');
  await delay(300);
  assert.deepEqual(listening(), []);
  assert.equal((await on.pids())['vault'], vault);
});

test('a policy whose secrets are not valid starts nothing', { skip }, async () => {
  await using place = emptyPlace();
  writeFileSync(place.paths.policy, JSON.stringify({ ...shippedPolicy, secrets: { key: { from: CANARY, hosts: [HOST] } } }));
  const { status, stderr } = await cli(place.env, ['up', '--detach']);
  assert.equal(status, 1);
  assert.match(stderr, /^caisson: POLICY_INVALID: .*secrets/m);
  assert.ok(!stderr.includes('cnry'), 'who writes a value in the place of a reference does not read it in the log');
  assert.equal((await cli(place.env, ['status'])).status, 3);
});

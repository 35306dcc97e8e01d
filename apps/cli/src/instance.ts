import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { ControlStatus, FromControl, StatePaths, SupervisorStatus } from '@caisson/contract/light';
import { alertText } from './alert-text.ts';
import { readStatus, type ArchiveStatus } from '@caisson/archive/status';
import { readStampingStatus, type StampingStatus } from '@caisson/timestamp/status';
import { readFeedStatus, type FeedStatus } from '@caisson/witness/status';
import { Caller, checkOwnFolders } from '@caisson/wire';
import { askControl, daemonArguments, instancePaths, startDetached } from './client.ts';
import { showBytes } from './quantity.ts';
import { liveSummary, summaryText } from './sandbox-commands.ts';
import { showSpan } from './say.ts';

/** Starts the daemon: in the foreground until a signal or `down`, or in the background. */
export async function up(flags: { readonly detach?: boolean; readonly json?: boolean }, home: string): Promise<number> {
  const paths = instancePaths();
  if (flags.detach === true) {
    const pid = await startDetached(paths, home);
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ up: true, dir: paths.dir, pid })}\n`);
    else process.stderr.write(`caisson: up in ${printable(paths.dir)} (pid ${pid})\n`);
    return 0;
  }
  const child = spawn(process.execPath, daemonArguments(home), {
    stdio: ['ignore', flags.json === true ? 2 : 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, CAISSON_HOME: home, CAISSON_DIR: paths.dir },
  });
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => undefined); // the terminal sends it to the child as well
  child.on('message', (word: { readonly ready?: true; readonly problem?: { readonly code: string; readonly message: string; readonly hint: string } }) => {
    if (flags.json === true && word.ready === true) process.stdout.write(`${JSON.stringify({ up: true, dir: paths.dir, pid: child.pid })}\n`);
    else if (flags.json === true && word.problem !== undefined) process.stdout.write(`${JSON.stringify({ problem: word.problem })}\n`);
    else if (word.ready === true) process.stderr.write(`caisson: up in ${printable(paths.dir)}; Ctrl-C stops it\n`);
    else if (word.problem !== undefined) process.stderr.write(`caisson: ${word.problem.code}: ${word.problem.message}\nhint: ${word.problem.hint}\n`);
  });
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

/** Stops the daemon and returns when everything of it is gone. Nothing to stop is no error. */
export async function down({ json }: { readonly json?: boolean } = {}): Promise<number> {
  const paths = instancePaths();
  checkOwnFolders(paths.ownFolders, { make: false });
  using supervisor = new Caller(paths.supervisorSocket);
  const { pid } = (await supervisor.call('status', null).catch(unreachableIsNull)) as SupervisorStatus | null ?? { pid: 0 };
  if (pid === 0) {
    if (json === true) process.stdout.write(`${JSON.stringify({ wasUp: false, dir: paths.dir })}\n`);
    else process.stderr.write(`caisson: nothing is up in ${printable(paths.dir)}\n`);
    return 0;
  }
  await supervisor.call('down', null).catch(unreachableIsNull);
  while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
  if (json === true) process.stdout.write(`${JSON.stringify({ wasUp: true, dir: paths.dir })}\n`);
  else process.stderr.write(`caisson: down in ${printable(paths.dir)}\n`);
  return 0;
}

function unreachableIsNull(error: unknown): null {
  if (error instanceof CaissonError && error.code === 'DAEMON_UNREACHABLE') return null;
  throw error;
}

/** Whether a process runs. One that has ended stays in the table until its parent asks, which init may do late or never. */
function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** Shows the processes, the host and the levels. Exit status 0 when everything is up, 3 when nothing is. */
export async function status(flags: { readonly json?: boolean }): Promise<number> {
  const paths = instancePaths();
  checkOwnFolders(paths.ownFolders, { make: false });
  using supervisor = new Caller(paths.supervisorSocket);
  const processes = (await supervisor.call('status', null).catch(unreachableIsNull)) as SupervisorStatus | null;
  const reply = await askControl(paths, { type: 'status' }).catch(unreachableIsNull);
  const control = (reply as Extract<FromControl, { type: 'status' }> | null)?.status ?? null;
  const sandboxes = control === null ? null : await liveSummary();
  const followers = followersOf(paths, processes);
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ up: processes !== null && control !== null, supervisor: processes, control, sandboxes, ...followers })}\n`);
  else process.stdout.write(describe(printable(paths.dir), processes, control) + (control === null ? '' : `${summaryText(sandboxes)}\n`) + followersText(followers));
  return processes !== null && control !== null ? 0 : 3;
}

/** What those say that follow the log; null: they do not run, or have said nothing. */
interface Followers {
  readonly archive: ArchiveStatus | null;
  readonly witnesses: FeedStatus | null;
  readonly timestamps: StampingStatus | null;
}

function followersOf({ archive, witness, timestamps }: StatePaths, supervisor: SupervisorStatus | null): Followers {
  const runs = (role: string): boolean => supervisor?.processes.some(({ name }) => name === role) === true;
  return {
    archive: runs('archiver') ? readStatus(`${archive}/status.json`) : null,
    witnesses: runs('feeder') ? readFeedStatus(`${witness}/status.json`) : null,
    timestamps: runs('feeder') ? readStampingStatus(`${timestamps}/status.json`) : null,
  };
}

function followersText({ archive, witnesses, timestamps }: Followers): string {
  return (archive === null ? '' : archiveText(archive)) + (witnesses === null ? '' : witnessesText(witnesses)) + (timestamps === null ? '' : timestampsText(timestamps));
}

function witnessesText({ witnesses, quorum, witnessedEntries, publishedEntries }: FeedStatus): string {
  const rows = witnesses.map(({ name, state, detail }) => `witness ${name}  ${state}${detail === undefined ? '' : `  ${detail}`}`);
  return [`witnessed ${witnessedEntries ?? 0} of ${publishedEntries} entries, by ${quorum} of ${witnesses.length}`, ...rows].map((row) => `${printable(row)}\n`).join('');
}

function timestampsText({ stampedEntries, publishedEntries, stampedMs, problem, alarms, authorities }: StampingStatus): string {
  const rows = authorities.map(({ name, state, detail }) => `authority ${name}  ${state}${detail === undefined ? '' : `  ${detail}`}`);
  const troubles = [...(problem === null ? [] : [`problem  ${problem}`]), ...alarms.map(({ alarm, detail }) => `${alarm}  ${detail}`)];
  const when = stampedMs === null ? '' : `, at ${new Date(stampedMs).toISOString()}`;
  return [`time-stamped ${stampedEntries ?? 0} of ${publishedEntries} entries${when}`, ...rows, ...troubles.map((text) => `time-stamps ${text}`)].map((row) => `${printable(row)}\n`).join('');
}

function archiveText({ store, state, detail, storedEntries, lagEntries, lagMs }: ArchiveStatus): string {
  const lag = lagEntries === 0 ? '' : `, ${lagEntries} behind for ${showSpan(lagMs)}`;
  return printable(`archive ${store}  ${state}  ${storedEntries ?? '?'} entries${lag}${detail === undefined ? '' : `  ${detail}`}`) + '\n';
}

function describe(dir: string, processes: SupervisorStatus | null, control: ControlStatus | null): string {
  if (processes === null) return `nothing is up in ${dir}; start it with ./caisson up\n`;
  const lines = [`up in ${dir} since ${new Date(processes.startedMs).toISOString()}`];
  for (const { name, pid, uid, restarts } of [{ name: 'supervisor', pid: processes.pid, uid: process.getuid?.() ?? 0, restarts: 0 }, ...processes.processes]) {
    lines.push(`  ${name.padEnd(11)} pid ${String(pid).padEnd(8)} uid ${uid}${restarts > 0 ? `  restarted ${restarts} times` : ''}`);
  }
  if (control === null) return `${lines.join('\n')}\ncontrol does not answer\n`;
  const { host } = control;
  lines.push(`host  kernel ${host.kernel}, cgroup ${host.cgroup.mode}${host.cgroup.writable ? '' : ' (not writable)'}, Landlock ABI ${host.landlockAbi}${host.rootless ? ', rootless' : ''}, swap ${showBytes(host.swapBytes)}`);
  for (const [level, missing] of Object.entries(host.missing)) {
    const runtimes = host.runtimes.filter((runtime) => ({ host: 'container', own: 'gvisor', 'virtual-machine': 'microvm' })[runtime.guestKernel] === level);
    lines.push(`level ${level.padEnd(10)} ${missing === null ? runtimes.map(({ name, version }) => `${name} ${version}`).join(', ') : `not here: ${missing.what} (${missing.how})`}`);
  }
  lines.push(`network  ${host.noGate === null ? 'by name, through the gate' : `not here: ${host.noGate.what} (${host.noGate.how})`}`);
  lines.push(`policy ${control.policySha256.slice(0, 16)}…  evidence ${control.evidenceHead === null ? (control.alerts.some(({ alert }) => alert === 'evidence-not-written') ? 'not open' : 'empty') : `${control.evidenceHead.index + 1} entries, head ${control.evidenceHead.hash.slice(0, 16)}…`}  calls under way ${control.calls.length}`);
  return `${[...lines, ...control.alerts.map(alertText)].join('\n')}\n`;
}

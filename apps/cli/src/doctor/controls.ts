import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseLines } from './lines.ts';
import type { Observation, Outside, Probe } from './probe.ts';
import { broken } from './readings.ts';
import { endVictim, startVictim, type Stage } from './stage.ts';

const CONTROL_MS = 60_000;

/**
 * Runs every attack outside the walls, where it should work, with the rights of this process. Attacks are safe when
 * they work: on the stage's process, directory and addresses, or taken back at once.
 */
export async function runControls(probes: readonly Probe[], probePath: string, stage: Stage): Promise<ReadonlyMap<string, Observation>> {
  const shared = probes.filter(({ alone }) => alone === undefined);
  const { stdout } = await attackOutside(probePath, ['batch', ...shared.flatMap(({ argv }) => argv), ...stage.outside]);
  const lines = parseLines(stdout);
  const found = new Map(shared.map(({ id }): [string, Observation] => [id, lines.get(id) ?? broken('the probe reported nothing outside')]));
  for (const probe of probes) if (probe.alone !== undefined) found.set(probe.id, await controlAlone(probe, probePath, stage));
  return found;
}

async function controlAlone({ id, argv, alone }: Probe, probePath: string, stage: Stage): Promise<Observation> {
  await using undo = new AsyncDisposableStack();
  const own: string[] = [];
  if (alone?.controlVictim === true) {
    const { child } = await startVictim(probePath, []);
    undo.defer(() => endVictim(child));
    own.push(`target=${child.pid ?? 0}`);
  }
  // The first parameter of a name counts.
  const { stdout, stderr } = await attackOutside(probePath, [...(alone?.controlArgv ?? argv), ...own, ...stage.outside]);
  const line = parseLines(stderr).get(id) ?? parseLines(stdout).get(id) ?? null;
  const outside: Outside = { line, stdoutBytes: stdout.length, survivors: stage.survivors() };
  for (const pid of outside.survivors) process.kill(pid, 'SIGKILL');
  return alone?.readControl?.(outside) ?? line ?? broken('the probe reported nothing outside');
}

/** Descriptor 3 is there to be found; the variable as well. */
async function attackOutside(probePath: string, argv: readonly string[]): Promise<{ readonly stdout: Buffer; readonly stderr: Buffer }> {
  const child = spawn(probePath, argv, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    cwd: '/',
    env: { ...process.env, CAISSON_DOCTOR_CONTROL: '1' },
    timeout: CONTROL_MS,
    killSignal: 'SIGKILL',
  });
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on('data', (bytes: Buffer) => chunks.stdout.push(bytes));
  child.stderr?.on('data', (bytes: Buffer) => chunks.stderr.push(bytes));
  await once(child, 'exit');
  // A process that was left behind may hold the pipes open: what there is to read is there.
  await new Promise((resolve) => setImmediate(resolve));
  for (const pipe of child.stdio) pipe?.destroy();
  return { stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr) };
}

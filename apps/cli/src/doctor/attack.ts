import type { Level, RunRequest, RunResult } from '@caisson/contract';
import { parseLines } from './lines.ts';
import type { Aftermath, Observation, Probe, Run } from './probe.ts';
import { broken, fromLine } from './readings.ts';
import type { Stage } from './stage.ts';

/** What the attacks on one level came to. */
export interface Siege {
  readonly requested: Level;
  /** As measured from inside; null when nothing ran. */
  readonly delivered: Level | null;
  readonly runtime: string | null;
  readonly kernel: string | null;
  /** Milliseconds from the call to the start of the command in the first sandbox; null when nothing ran. */
  readonly readyMs: number | null;
  readonly observations: ReadonlyMap<string, Observation>;
}

interface Attackers {
  readonly run: Run;
  /** The probe's own bytes: it is carried in through stdin, for a sandbox has no host path. */
  readonly binary: Buffer;
  readonly stage: Stage;
}

const DELIVER = 'cat >/workspace/probe && chmod 700 /workspace/probe && exec /workspace/probe "$@"';
const BATCH_LIMITS = { wallMs: 120_000, cpuMs: 120_000 };

export async function besiege(level: Level, probes: readonly Probe[], { run, binary, stage }: Attackers): Promise<Siege> {
  const observations = new Map<string, Observation>();
  const asked = probes.filter(({ except }) => except?.[level] === undefined);
  const shared = asked.filter(({ alone }) => alone === undefined);
  const request = (argv: readonly string[], limits: RunRequest['limits']): RunRequest => ({
    argv: ['sh', '-c', DELIVER, 'probe', ...argv, ...stage.inside],
    level,
    stdin: true,
    ...(limits === undefined ? {} : { limits }),
  });
  const batch = await run(request(['batch', ...shared.flatMap(({ argv }) => argv)], BATCH_LIMITS), binary);
  const lines = parseLines(batch.stdout);
  for (const { id } of shared) {
    observations.set(id, atLevel(level, batch.result, lines.get(id) ?? broken(`the probe reported nothing: ${batch.result.reason}`)));
  }
  for (const { id, argv, alone } of asked) {
    if (alone === undefined) continue;
    const { result, stdout, stderr } = await run(request(argv, alone.limits), binary);
    const line = parseLines(stderr).get(id) ?? parseLines(stdout).get(id) ?? null;
    const aftermath: Aftermath = { result, line, survivors: stage.survivors() };
    observations.set(id, atLevel(level, result, (alone.read ?? fromLine)(aftermath)));
  }
  const { delivered, runtime, kernel } = batch.result.level;
  return { requested: level, delivered, runtime, kernel, readyMs: batch.result.timings['attest'] ?? null, observations };
}

/** An attack on another level than the one asked for says nothing about it, except when it worked. */
function atLevel(level: Level, { level: { delivered } }: RunResult, observation: Observation): Observation {
  if (observation.through === true || delivered === level) return observation;
  return broken(delivered === null ? observation.saw : `ran at level ${delivered} instead of ${level}`);
}

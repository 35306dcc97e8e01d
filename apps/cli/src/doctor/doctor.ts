import { readFileSync } from 'node:fs';
import type { ControlStatus, Level } from '@caisson/contract';
import { alertText } from '../alert-text.ts';
import { besiege, type Siege } from './attack.ts';
import { runControls } from './controls.ts';
import { judge } from './judge.ts';
import type { Observation, Probe, Run } from './probe.ts';
import { PROBES } from './probes.ts';
import { broken } from './readings.ts';
import { asText, scoreOf, type Finding, type DoctorReport, type LevelReport } from './report.ts';
import { openStage } from './stage.ts';

export interface DoctorOptions {
  /** Runs one command in one fresh sandbox, as any caller would. */
  readonly run: Run;
  readonly status: () => Promise<ControlStatus>;
  /** The static attack program. */
  readonly probePath: string;
  /** Levels to attack; those that the host cannot deliver are reported with what is missing. */
  readonly levels: readonly Level[];
  /** Takes what is to be printed on stdout. */
  readonly out: (text: string) => void;
  /** One object instead of the table. */
  readonly json: boolean;
  /** Default: all of them. */
  readonly probes?: readonly Probe[];
}

/**
 * Attacks every available level from inside, and the host the same way from outside to show that the attacks work.
 * Resolves to 0, or to 1 when an attack got through or a probe could not do its work.
 */
export async function doctor({ status, levels, out, json, ...means }: DoctorOptions): Promise<number> {
  const { host, alerts } = await status();
  const available = levels.filter((level) => host.missing[level] === null);
  const unavailable = levels.flatMap((level) => {
    const missing = host.missing[level];
    return missing === null ? [] : [{ level, ...missing }];
  });
  const reports = available.length === 0 ? [] : await attackLevels(available, host.kernel, means);
  const total = scoreOf(reports.flatMap(({ findings }) => findings));
  const report: DoctorReport = { host, levels: reports, unavailable, total, sound: total.through === 0 && total.broken === 0 };
  out(json ? `${JSON.stringify({ ...report, alerts })}\n` : [asText(report), ...alerts.map((alert) => `${alertText(alert)}\n`)].join(''));
  return report.sound ? 0 : 1;
}

/** The controls run once: what can work on this host does not depend on the level. */
async function attackLevels(
  levels: readonly Level[],
  kernel: string,
  { run, probePath, probes = PROBES }: Pick<DoctorOptions, 'run' | 'probePath' | 'probes'>,
): Promise<readonly LevelReport[]> {
  const binary = readFileSync(probePath);
  await using stage = await openStage({ probePath, kernel });
  const controls = await runControls(probes, probePath, stage);
  const reports: LevelReport[] = [];
  for (const level of levels) reports.push(reportLevel(await besiege(level, probes, { run, binary, stage }), probes, controls));
  return reports;
}

function reportLevel({ observations, ...level }: Siege, probes: readonly Probe[], controls: ReadonlyMap<string, Observation>): LevelReport {
  const asked = probes.filter(({ id }) => observations.has(id));
  const findings = asked.map((probe) => findingOf(probe, observations.get(probe.id), controls.get(probe.id)));
  const notAsked = probes.flatMap(({ id, except }) => {
    const why = except?.[level.requested];
    return why === undefined ? [] : [{ id, why }];
  });
  return { ...level, score: scoreOf(findings), findings, notAsked };
}

function findingOf({ id, title, theme, requirements, control: is }: Probe, inside = broken('not tried'), control = broken('not tried')): Finding {
  return { id, title, theme, requirements, saw: inside.saw, control: { is, saw: control.saw }, ...judge(inside, control) };
}

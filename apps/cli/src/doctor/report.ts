import type { HostFacts, Level } from '@caisson/contract';
import type { Judgement, Verdict } from './judge.ts';
import { THEMES, type Theme } from './probe.ts';

/** One line of the table. */
export interface Finding extends Judgement {
  readonly id: string;
  readonly title: string;
  readonly theme: Theme;
  readonly requirements: readonly string[];
  readonly saw: string;
  /** What the positive control is, and what it saw. */
  readonly control: { readonly is: string; readonly saw: string };
}

export type Score = Readonly<Record<Verdict, number>>;

export interface LevelReport {
  readonly requested: Level;
  readonly delivered: Level | null;
  readonly runtime: string | null;
  readonly kernel: string | null;
  readonly readyMs: number | null;
  readonly score: Score;
  readonly findings: readonly Finding[];
  /** Attacks that mean nothing at this level. */
  readonly notAsked: readonly { readonly id: string; readonly why: string }[];
}

/** What `doctor --json` prints. */
export interface DoctorReport {
  readonly host: HostFacts;
  readonly levels: readonly LevelReport[];
  readonly unavailable: readonly { readonly level: Level; readonly what: string; readonly how: string }[];
  readonly total: Score;
  /** Whether nothing got through and every probe did its work. */
  readonly sound: boolean;
}

const SAW_WIDTH = 76;

export function scoreOf(findings: readonly Judgement[]): Score {
  const count = (verdict: Verdict): number => findings.filter((finding) => finding.verdict === verdict).length;
  return { held: count('held'), through: count('through'), unproven: count('unproven'), broken: count('broken') };
}

export function asText(report: DoctorReport): string {
  const lines = [...hostLines(report.host), ...report.levels.flatMap(levelLines)];
  for (const { level, what, how } of report.unavailable) lines.push('', `level ${level}: not attacked, it is not available here: ${what}`, `  to get it: ${how}`);
  lines.push('', `total: ${scoreText(report.total)}`);
  return `${lines.join('\n')}\n`;
}

function hostLines(host: HostFacts): readonly string[] {
  const { mode, writable, controllers, swapAccounting } = host.cgroup;
  return [
    `host  kernel ${host.kernel} ${host.arch}${host.rootless ? ', rootless' : ''}`,
    `      cgroup ${mode}${writable ? '' : ', not writable'}, controllers ${controllers.join(' ') || 'none'}${swapAccounting ? '' : ', swap not accounted'}`,
    `      seccomp ${host.seccomp ? 'yes' : 'no'}, Landlock ABI ${host.landlockAbi}, user namespaces ${host.userNamespaces}`,
    `      runtimes ${host.runtimes.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none'}`,
  ];
}

function levelLines(level: LevelReport): readonly string[] {
  const ready = level.readyMs === null ? '' : `, ready after ${Math.round(level.readyMs)} ms`;
  const lines = ['', `level ${level.requested}: delivered ${level.delivered ?? 'nothing'} by ${level.runtime ?? 'no runtime'}, kernel ${level.kernel ?? 'unknown'}${ready}`];
  for (const theme of THEMES) {
    const findings = level.findings.filter((finding) => finding.theme === theme);
    if (findings.length === 0) continue;
    lines.push(`  ${theme}`);
    for (const { verdict, id, saw } of findings) lines.push(`    ${verdict.padEnd(9)} ${id.padEnd(22)} ${shorten(saw)}`);
  }
  lines.push(`  ${level.requested}: ${scoreText(level.score)}`);
  for (const verdict of ['through', 'broken', 'unproven'] as const) {
    for (const finding of level.findings.filter((each) => each.verdict === verdict)) lines.push(`    ${verdict.padEnd(9)} ${finding.title}: ${finding.why}`);
  }
  for (const { id, why } of level.notAsked) lines.push(`    not asked ${id}: ${why}`);
  return lines;
}

function shorten(saw: string): string {
  return saw.length <= SAW_WIDTH ? saw : `${saw.slice(0, SAW_WIDTH - 1)}…`;
}

function scoreText({ held, through, unproven, broken }: Score): string {
  return `${held} held, ${through} through, ${unproven} unproven, ${broken} broken`;
}

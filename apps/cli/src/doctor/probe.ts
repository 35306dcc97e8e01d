import type { Level, RunRequest, RunResult } from '@caisson/contract';

export const THEMES = ['privilege', 'kernel', 'files', 'processes', 'network', 'resources'] as const;
export type Theme = (typeof THEMES)[number];

/** What one attack came to. */
export interface Observation {
  /** Whether the attack worked; null when it could not be tried, which says nothing about the wall. */
  readonly through: boolean | null;
  /** What the attacker saw. From inside a sandbox: untrusted text. */
  readonly saw: string;
}

/** One command in one fresh sandbox. */
export type Run = (request: RunRequest, stdin: Buffer) => Promise<{ readonly result: RunResult; readonly stdout: Buffer; readonly stderr: Buffer }>;

/** An attack that had a sandbox to itself, and what was left of it. */
export interface Aftermath {
  readonly result: RunResult;
  /** What the probe itself reported; null when it was stopped before it could. */
  readonly line: Observation | null;
  /** Processes on the host that the attack left behind. */
  readonly survivors: readonly number[];
}

/** The same attack outside the walls, and what was left of it. */
export interface Outside {
  readonly line: Observation | null;
  readonly stdoutBytes: number;
  readonly survivors: readonly number[];
}

/** For attacks that use up or end their sandbox: each gets its own. */
export interface Alone {
  readonly limits: NonNullable<RunRequest['limits']>;
  /** The verdict from what the run came to. Default: what the probe reported. */
  readonly read?: (aftermath: Aftermath) => Observation;
  /** Name and parameters of the positive control where they differ from those inside. */
  readonly controlArgv?: readonly string[];
  /** Whether the control needs a process of the doctor's own that may be killed. */
  readonly controlVictim?: boolean;
  readonly readControl?: (outside: Outside) => Observation;
}

/** One attack, as data. */
export interface Probe {
  readonly id: string;
  /** Completes the sentence "an agent cannot …". */
  readonly title: string;
  readonly theme: Theme;
  /** Name of the attack in caisson-probe and its own parameters. */
  readonly argv: readonly string[];
  /** Requirements that a held wall proves. */
  readonly requirements: readonly string[];
  /** What shows, outside the walls, that the attack can work. */
  readonly control: string;
  /** Levels at which the attack means nothing, and why. */
  readonly except?: Readonly<Partial<Record<Level, string>>>;
  /** Absent: the attack shares a sandbox with others, because it leaves nothing behind. */
  readonly alone?: Alone;
}

export const CONTROL = {
  root: 'the same attack by root on the host',
  victim: 'the same attack by root on a process of the doctor’s own',
  canary: 'the same attack on the host finds the canary',
  listener: 'the same attack from the host, on loopback',
  stage: 'the same attack in a network namespace that has the address on loopback',
  spared: 'the same attack on the host, in a directory or process of its own',
} as const;

type Row = readonly [id: string, title: string, requirements: string, control: keyof typeof CONTROL, except?: Probe['except']];

/** Probes that share a sandbox; `requirements` are separated by spaces. */
export function together(theme: Theme, rows: readonly Row[]): readonly Probe[] {
  return rows.map(([id, title, requirements, control, except]) => ({
    id,
    title,
    theme,
    argv: [id],
    requirements: requirements.split(' '),
    control: CONTROL[control],
    ...(except === undefined ? {} : { except }),
  }));
}

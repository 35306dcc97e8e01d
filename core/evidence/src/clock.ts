import { readEntryBody, type AlertName, type Entry, type EntryDraft } from '@caisson/contract';
import { find, type Findings } from './findings.ts';

/** The alert that says that the clock was set. */
const STEPPED_ALERT: AlertName = 'clock-stepped';
/** From here on a clock was set; what is less is how a clock is kept right. */
const STEP_MS = 1_000;
/** Most by which a clock is made faster or slower to keep it right (adjtimex(2): 500 parts in a million), and as much again. */
const SLEW = 0.001;

/** What a process can know of time, each in milliseconds. */
export interface HostClocks {
  /** Since 1970 UTC, as whoever may set the clock wants it. */
  readonly wallMs: () => number;
  /** Since some moment, set by nobody (CLOCK_MONOTONIC); it stands still while the host sleeps. */
  readonly monotonicMs: () => number;
  /** The same, and goes on while the host sleeps (CLOCK_BOOTTIME). It may be coarse. */
  readonly bootMs: () => number;
}

export interface ClockStep {
  /** By how much the clock was set forward; below zero: back. */
  readonly byMs: number;
  /** What it showed after that. */
  readonly toMs: number;
}

/** Watches the wall clock: where it goes otherwise than time does, it was set. Time for which the host slept is no step. */
export class ClockWatch {
  readonly #clocks: HostClocks;
  #wallMs: number | null;
  #monotonicMs: number | null = null;
  #asleepMs: number;

  /** @param lastMs what the clock showed when a process before this one looked last; null: none has */
  constructor(clocks: HostClocks, lastMs: number | null) {
    this.#clocks = clocks;
    this.#wallMs = lastMs;
    this.#asleepMs = this.#slept();
  }

  #slept(): number {
    return this.#clocks.bootMs() - this.#clocks.monotonicMs();
  }

  /** Looks at the clocks. @returns by how much the wall clock was set since it was looked at last, or null */
  look(): ClockStep | null {
    const [wallMs, monotonicMs] = [this.#clocks.wallMs(), this.#clocks.monotonicMs()];
    const byMs = this.#stepTo(wallMs, monotonicMs);
    [this.#wallMs, this.#monotonicMs] = [wallMs, monotonicMs];
    return Math.abs(byMs) > STEP_MS ? { byMs, toMs: wallMs } : null;
  }

  #stepTo(wallMs: number, monotonicMs: number): number {
    if (this.#wallMs === null) return 0;
    if (this.#monotonicMs === null) return Math.min(0, wallMs - this.#wallMs); // how long nobody looked is not known
    const passedMs = monotonicMs - this.#monotonicMs;
    const byMs = wallMs - this.#wallMs - passedMs;
    if (Math.abs(byMs) <= STEP_MS + passedMs * SLEW) return 0;
    const asleepMs = this.#slept();
    const sleptMs = Math.max(0, asleepMs - this.#asleepMs);
    this.#asleepMs = asleepMs;
    return byMs - sleptMs;
  }
}

/** What is put on record of a step. */
export function stepAlert({ byMs, toMs }: ClockStep): EntryDraft {
  const reason = `the clock of this host was set ${byMs < 0 ? 'back' : 'forward'} by ${(Math.abs(byMs) / 1000).toFixed(3)} s, to ${timeText(toMs)}`;
  return { kind: 'alert', source: 'scribe', subject: 'scribe', body: { alert: STEPPED_ALERT, severity: 'warning', about: ['evidence'], reason } };
}

function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

/** The times of a log as its entries go by. */
export interface Times {
  readonly findings: Findings;
  lastMs: number;
}

export function emptyTimes(findings: Findings): Times {
  return { findings, lastMs: -Infinity };
}

/** Takes the next entry. The scribe says that the clock was set before it records anything by it: a time that goes back otherwise is found. */
export function passTime(times: Times, entry: Entry): void {
  const backMs = times.lastMs - entry.timeMs;
  times.lastMs = entry.timeMs;
  if (backMs <= STEP_MS || tellsOfStep(entry)) return;
  find(times.findings, entry.index, `is ${(backMs / 1000).toFixed(3)} s before the one before it, and nothing says that the clock was set`);
}

function tellsOfStep({ kind, body, source }: Entry): boolean {
  if (kind !== 'alert' || source !== 'scribe') return false;
  const read = readEntryBody({ kind, body });
  return read?.is === 'alert' && read.body.alert === STEPPED_ALERT;
}

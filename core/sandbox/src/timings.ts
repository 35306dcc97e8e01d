export interface Timings {
  /** Notes that a step has ended now. */
  mark(step: string): void;
  all(): Readonly<Record<string, number>>;
}

/** Milliseconds from now to the end of each step, to the microsecond. */
export function startTimings(now: () => number): Timings {
  const start = now();
  const ends: Record<string, number> = {};
  return {
    mark(step) {
      ends[step] = Math.round((now() - start) * 1000) / 1000;
    },
    all: () => ends,
  };
}

import type { Decision } from './decision.ts';
import type { Receipt } from './evidence.ts';
import type { Level } from './level.ts';
import type { NetworkState } from './network-state.ts';
import type { Ending, OutputCount, Usage } from './outcome.ts';

/** What a call came to: the object that `caisson run --json` prints, without the output itself. */
export interface RunResult {
  readonly id: string;
  /** Exit status as in `exitStatus`, or `unknown`. */
  readonly exit: number | 'unknown';
  readonly reason: string;
  readonly ending: Ending;
  readonly level: {
    readonly requested: Level;
    /** Measured from inside; null when the sandbox did not start or was not attested. */
    readonly delivered: Level | null;
    readonly runtime: string | null;
    readonly kernel: string | null;
  };
  readonly decision: Decision;
  readonly digests: {
    /** SHA-256 over `salt` and the canonical request: what the log holds, so that it gives no guess away. */
    readonly request: string;
    /** 32 random bytes, hex. Only the caller has them; with them the caller can prove what was asked. */
    readonly salt: string;
    readonly policy: string;
    readonly spec: string | null;
  };
  readonly usage: Usage;
  readonly output: { readonly stdout: OutputCount; readonly stderr: OutputCount };
  /** What it did with its network; null: it had none, or the gate could not say. */
  readonly network: NetworkState | null;
  /** Null where nothing could be recorded. */
  readonly evidence: { readonly intent: Receipt | null; readonly outcome: Receipt | null };
  /** Milliseconds from the start of the call to the end of each step, to the microsecond. */
  readonly timings: Readonly<Record<string, number>>;
}

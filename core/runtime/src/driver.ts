import type { IsolationSpec, RuntimeFacts, Usage } from '@caisson/contract';
import type { Hello } from './hello.ts';

/** One command in a sandbox. */
export interface ProcessSpec {
  readonly argv: readonly string[];
  /** `NAME=value` each. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly stdin: boolean;
  /** Bytes of stdout, and the same again of stderr, that are handed on. */
  readonly outputBytes: number;
}

export type OutputStream = 'stdout' | 'stderr';

export interface ExecEvents {
  /** Called for every chunk, in order. The promise it returns is the back-pressure: no more than a window of bytes is outstanding. */
  onOutput(stream: OutputStream, bytes: Buffer): Promise<void>;
}

/** How an exec ended, as the driver saw it. `lost`: pid 1 was gone before the exec's end was reported. */
export type ExecEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number }
  | { readonly kind: 'timed-out'; readonly limit: 'wall' | 'cpu' }
  | { readonly kind: 'not-started'; readonly stage: 'setup' | 'cwd' | 'exec'; readonly errno: number }
  | { readonly kind: 'lost'; readonly detail: string };

export interface ExecReport {
  readonly end: ExecEnd;
  /** Bytes the command wrote, whether handed on or dropped. */
  readonly written: { readonly stdout: number; readonly stderr: number };
}

export interface Exec {
  /** Resolves once, after the last output; never rejects. */
  readonly done: Promise<ExecReport>;
  /** Resolves when the sandbox has room for more; returns at once when the exec is over. */
  writeStdin(bytes: Buffer): Promise<void>;
  endStdin(): Promise<void>;
  /** Sends a signal to the process group of the exec. */
  signal(signal: number): void;
}

/** A running sandbox. */
export interface Machine {
  readonly runtime: string;
  readonly hello: Hello;
  spawn(process: ProcessSpec, events: ExecEvents): Exec;
  /**
   * Kills everything in the sandbox, waits until nothing of it runs and returns what it used.
   * Idempotent; clean-up of files and cgroups goes on after it resolves.
   */
  close(): Promise<Usage>;
}

/** Turns specs into running sandboxes. It decides nothing. */
export interface Driver {
  readonly facts: RuntimeFacts;
  /** @throws CaissonError LAUNCH_FAILED; nothing of the sandbox is left then. */
  launch(spec: IsolationSpec, options: { readonly signal: AbortSignal }): Promise<Machine>;
  /** Removes what sandboxes of a dead launcher left behind and returns their ids. */
  sweep(): Promise<readonly string[]>;
  /** Resolves when every clean-up under way is done. */
  settled(): Promise<void>;
}

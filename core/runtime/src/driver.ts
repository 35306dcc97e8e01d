import { CaissonError, type IsolationSpec, type LiveUsage, type RuntimeFacts, type Usage } from '@caisson/contract';
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
  /**
   * Wall time and CPU time of this command alone, in milliseconds; on expiry its processes are killed and the sandbox stays.
   * Default: the sandbox is for this command, its limits hold, and on expiry everything in it is killed.
   */
  readonly ownLimits?: { readonly wallMs: number; readonly cpuMs: number };
  /**
   * Gives the command a controlling terminal of this size, 1 to 65535 each. All output is then stream `stdout`, and stdin is
   * open whatever `stdin` says; its end is the terminal's end-of-file character. Default: pipes.
   */
  readonly tty?: { readonly cols: number; readonly rows: number };
}

export type OutputStream = 'stdout' | 'stderr';

export interface ExecEvents {
  /** Called for every chunk, in order. The promise it returns is the back-pressure: no more than a window of bytes is outstanding. */
  onOutput(stream: OutputStream, bytes: Buffer): Promise<void>;
  /** Of a connection only: it is there. Its end may be told first. */
  onStarted?(): void;
  /** Of a connection only: the peer has ended its sending half. Nothing more comes, and the peer may still read. */
  onOutputEnd?(): void;
  /** What a checkpoint notes with the exec, so that whoever restores it knows it again. Default: nothing. */
  readonly memo?: string;
}

/** How an exec ended, as the driver saw it. `lost`: pid 1 was gone before the exec's end was reported. */
export type ExecEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number }
  | { readonly kind: 'timed-out'; readonly limit: 'wall' | 'cpu' }
  | { readonly kind: 'not-started'; readonly stage: 'setup' | 'cwd' | 'exec' | 'connect'; readonly errno: number }
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
  /** Sends a signal to the process group of the exec, and with a terminal to the one in its foreground. */
  signal(signal: number): void;
  /** SIGKILL to every process of the exec's session. */
  kill(): void;
  /** Changes the size of its terminal; nothing without one. */
  resize(cols: number, rows: number): void;
}

/** A running sandbox. */
export interface Machine {
  readonly runtime: string;
  /** Who everything in it runs as inside, as the driver set it up. What pid 1 finds is in its hello. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** IPv4 address by which the gate knows it; null: it has no link to the gate. */
  readonly address: string | null;
  readonly hello: Hello;
  spawn(process: ProcessSpec, events: ExecEvents): Exec;
  /**
   * Kills everything in the sandbox, waits until nothing of it runs and returns what it used.
   * Idempotent; clean-up of files and cgroups goes on after it resolves.
   */
  close(): Promise<Usage>;
}

/** A running sandbox in the hands of its driver. */
export interface LiveMachine extends Machine {
  /**
   * A TCP connection to 127.0.0.1:port, or else ::1, inside the sandbox, made by pid 1: an exec without a process, whose stdin
   * goes to the peer and whose stdout comes from it. `endStdin` ends the sending half and `kill` the connection. It ends
   * `exited` with 0 when both halves have ended or the peer reset it, and `not-started` at stage `connect` when nobody
   * answers within 5 s; port 0 and ports above 65535 are refused with EINVAL.
   */
  dial(port: number, events: ExecEvents): Exec;
  /** Resolves when pid 1 is gone, whether it was closed or not. */
  readonly gone: Promise<void>;
  /** Stops every process where it is; nothing runs and no time limit of an exec goes on until `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  usage(): Promise<LiveUsage>;
  /**
   * Saves the memory of all processes, with the content of the memory file systems, as `folder`, which must not exist and
   * whose parent is root's alone. The sandbox goes on. Bytes of stdin that pid 1 has not taken are not part of it.
   *
   * @throws CaissonError CHECKPOINT_UNAVAILABLE, CHECKPOINT_FAILED, SANDBOX_STATE while it is paused
   */
  checkpoint?(folder: string): Promise<void>;
  /** The secrets that it has as files. Default: it has none. */
  readonly secrets?: HeldSecrets | undefined;
}

/** Secrets of a running sandbox that are files, by their leases. */
export interface HeldSecrets {
  /** Gives the file the value that the vault has now; it is whole at any time. @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE; the file is as it was then */
  renew(lease: string): Promise<void>;
  /** Takes the file away. Idempotent. */
  drop(lease: string): void;
}

/** An exec that ran when the memory was saved and goes on in the restored sandbox. */
export interface RestoredExec {
  readonly memo: string;
  readonly exec: Exec;
}

export interface RestoreOptions extends LaunchOptions {
  /** Asked once for every exec that goes on; `memo` is what its `ExecEvents` had when the memory was saved. */
  readonly adopt: (memo: string) => ExecEvents;
}

export interface LaunchOptions {
  readonly signal: AbortSignal;
  /** Makes the workspace that the spec mounts ready for this host uid and resolves to the folder that holds it. */
  readonly workspaceFor?: (hostUid: number) => Promise<string>;
}

/** Turns specs into running sandboxes. It decides nothing. */
export interface Driver {
  readonly facts: RuntimeFacts;
  /** @throws CaissonError LAUNCH_FAILED; nothing of the sandbox is left then. */
  launch(spec: IsolationSpec, options: LaunchOptions): Promise<LiveMachine>;
  /**
   * Starts a sandbox from a checkpoint. Every protection is that of `spec`, which must be the one that was saved but for its
   * id, its host name and its workspace; its hello is a new one. Connections into the sandbox end.
   *
   * @throws CaissonError CHECKPOINT_INVALID, CHECKPOINT_UNAVAILABLE, LAUNCH_FAILED; nothing of the sandbox is left then.
   */
  restore?(spec: IsolationSpec, folder: string, options: RestoreOptions): Promise<{ readonly machine: LiveMachine; readonly execs: readonly RestoredExec[] }>;
  /** Removes what sandboxes of a dead launcher left behind and returns their ids. */
  sweep(): Promise<readonly string[]>;
  /** Resolves when every clean-up under way is done. */
  settled(): Promise<void>;
}

/** Whatever went wrong in a launch, as what a driver throws. */
export function launchFailed(error: unknown): CaissonError {
  if (error instanceof CaissonError) return error;
  return new CaissonError('LAUNCH_FAILED', { detail: error instanceof Error ? error.message : String(error) }, { cause: error });
}

import type { Problem } from './errors.ts';
import type { Alert, Receipt } from './evidence.ts';
import type { HostFacts } from './host.ts';
import type { RunRequest } from './request.ts';
import type { RunResult } from './result.ts';

/** What a client may say to control. One connection carries one run; closing it cancels the run. */
export type ToControl =
  | { readonly type: 'run'; readonly request: RunRequest }
  | { readonly type: 'status' };

export type FromControl =
  | { readonly type: 'result'; readonly result: RunResult }
  | { readonly type: 'problem'; readonly problem: Problem }
  | { readonly type: 'stdin-taken'; readonly bytes: number }
  | { readonly type: 'status'; readonly status: ControlStatus };

export interface ControlStatus {
  readonly host: HostFacts;
  readonly policySha256: string;
  readonly evidenceHead: Receipt | null;
  /** The last alerts of the log that nothing has cleared. */
  readonly alerts: readonly Alert[];
  /** Ids of the calls under way. */
  readonly calls: readonly string[];
}

/** Stdin bytes that a client may have under way to control. */
export const CLIENT_STDIN_WINDOW = 256 * 1024;

export interface ProcessStatus {
  readonly name: string;
  readonly pid: number;
  readonly uid: number;
  readonly restarts: number;
}

/** What the supervisor answers to `status`. */
export interface SupervisorStatus {
  readonly pid: number;
  readonly dir: string;
  readonly startedMs: number;
  readonly processes: readonly ProcessStatus[];
}

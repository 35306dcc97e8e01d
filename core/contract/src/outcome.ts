/** How a call ended. `unknown` is a value of its own: it is never mistaken for success. */
export type Ending =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: number }
  | { readonly kind: 'timed-out'; readonly limit: 'wall' | 'cpu'; readonly limitMs: number }
  | { readonly kind: 'out-of-memory'; readonly limitBytes: number }
  | { readonly kind: 'not-started'; readonly code: 'COMMAND_NOT_FOUND' | 'COMMAND_NOT_EXECUTABLE' | 'CWD_INVALID'; readonly detail: string }
  | { readonly kind: 'refused'; readonly code: string; readonly detail: string }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string }
  | { readonly kind: 'cancelled'; readonly detail: string }
  | { readonly kind: 'unknown'; readonly detail: string };

export const EXIT = { timedOut: 124, caisson: 125, notExecutable: 126, notFound: 127, outOfMemory: 137, unknown: 123 } as const;

/** The exit status a shell sees. 123 stands for `unknown` and 125 for everything that is Caisson's own. */
export function exitStatus(ending: Ending): number {
  switch (ending.kind) {
    case 'exited': return ending.code;
    case 'signaled': return 128 + ending.signal;
    case 'timed-out': return EXIT.timedOut;
    case 'out-of-memory': return EXIT.outOfMemory;
    case 'not-started': return ending.code === 'COMMAND_NOT_FOUND' ? EXIT.notFound : EXIT.notExecutable;
    case 'refused':
    case 'failed':
    case 'cancelled': return EXIT.caisson;
    case 'unknown': return EXIT.unknown;
  }
}

/** One sentence for people. */
export function reasonFor(ending: Ending): string {
  switch (ending.kind) {
    case 'exited': return `the command exited with ${ending.code}`;
    case 'signaled': return `the command was killed by signal ${ending.signal}`;
    case 'timed-out': return `the command was killed: ${ending.limit === 'wall' ? 'wall' : 'CPU'} time of ${ending.limitMs} ms was used up`;
    case 'out-of-memory': return `the command was killed: it needed more than its ${Math.round(ending.limitBytes / 1048576)} MiB of memory`;
    case 'not-started':
    case 'refused':
    case 'failed':
    case 'cancelled': return ending.detail;
    case 'unknown': return `what became of the command is unknown: ${ending.detail}`;
  }
}

/** What the sandbox used, measured outside it. `null`: this kernel does not say. */
export interface Usage {
  readonly cpuMs: number | null;
  readonly memoryPeakBytes: number | null;
  readonly pidsPeak: number | null;
  readonly oomKills: number | null;
  /** Told once, when the sandbox has ended. */
  readonly counts?: Counts;
}

/** What was counted of a sandbox by those who cannot write the log, so that what is left out of the log shows. `null`: this kernel, or pid 1, does not say. */
export interface Counts {
  /** Programs that pid 1 has executed, as it said at the end of the last one. */
  readonly started: number | null;
  /** Programs that the launcher has had it execute, but for those that could not be. */
  readonly asked: number;
  readonly cpuUs: number | null;
  /** Bytes read from and written to block devices. */
  readonly readBytes: number | null;
  readonly writtenBytes: number | null;
}

export interface OutputCount {
  /** Bytes the command wrote. */
  readonly written: number;
  /** Bytes handed on, at most the limit. */
  readonly returned: number;
  readonly truncated: boolean;
  /** SHA-256 of the returned bytes, hex. */
  readonly sha256: string;
}

import type { Ending, ExecInfo } from './generated.ts';

/** How a command ended. */
export interface ExecEnd {
  readonly execId: string;
  /** Whether it exited with 0. An unknown outcome is not ok. */
  readonly ok: boolean;
  /** Exit status as a shell would see it, or `unknown` when nobody can tell what became of the command. */
  readonly exit: number | 'unknown';
  readonly ending: Ending;
  /** How it ended, one sentence. */
  readonly reason: string;
  /** Wall time from its start to its end, in milliseconds. */
  readonly durationMs: number;
  /** Where the record of Caisson has its start and its end. */
  readonly evidence: ExecInfo['evidence'];
}

export interface ExecResult extends ExecEnd {
  /** Decoded as UTF-8; bytes that are not are U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
  /** Whether anything it wrote is missing here: dropped by the sandbox's limit on output, or by `maxBufferBytes`. */
  readonly truncated: boolean;
}

/** The end of an exec that has one. */
export function endOf(info: ExecInfo): ExecEnd {
  const ending: Ending = info.ending ?? { kind: 'unknown', detail: 'no ending was reported' };
  const exit = info.ending === null ? 'unknown' : (info.exit ?? 'unknown');
  return {
    execId: info.id,
    ok: ending.kind === 'exited' && ending.code === 0 && exit === 0,
    exit,
    ending,
    reason: info.reason ?? 'what became of the command is unknown',
    durationMs: Math.max(0, (info.endedMs ?? info.startedMs) - info.startedMs),
    evidence: info.evidence,
  };
}

import { z } from 'zod';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** What one sandbox may use. Every limit is enforced by the kernel or by a process outside the sandbox. */
export interface Limits {
  /** Wall time of the command, in milliseconds. On expiry everything in the sandbox is killed; exit 124. */
  readonly wallMs: number;
  /** CPU time of the whole sandbox, in milliseconds, checked every 100 ms. On expiry as for wallMs. */
  readonly cpuMs: number;
  /** Memory of the whole sandbox in bytes, tmpfs content included; no swap. Beyond it: exit 137. */
  readonly memoryBytes: number;
  /** Processes and threads at once; further forks fail with EAGAIN. */
  readonly pids: number;
  /** CPU bandwidth in thousandths of a core. */
  readonly cpuMillis: number;
  /** Bytes returned of stdout, and the same again of stderr; the rest is read and dropped. */
  readonly outputBytes: number;
  /** Size of /workspace, in bytes. */
  readonly workspaceBytes: number;
  /** Size of /tmp, in bytes. */
  readonly tmpBytes: number;
  /** Files and directories in each of /workspace and /tmp. */
  readonly inodes: number;
  /** Open descriptors per process. */
  readonly openFiles: number;
}

const whole = (minimum: number, maximum: number, what: string): z.ZodType<number> => z.int().min(minimum).max(maximum).describe(what);
const DAY_MS = 86_400_000;

const shape = {
  wallMs: whole(10, 7 * DAY_MS, 'wall time in milliseconds'),
  cpuMs: whole(10, 7 * DAY_MS, 'CPU time in milliseconds'),
  memoryBytes: whole(16 * MIB, 1024 * GIB, 'memory in bytes'),
  pids: whole(2, 32_768, 'processes and threads'),
  cpuMillis: whole(50, 512_000, 'thousandths of a core'),
  outputBytes: whole(0, GIB, 'bytes of stdout and of stderr'),
  workspaceBytes: whole(MIB, 1024 * GIB, 'bytes in /workspace'),
  tmpBytes: whole(MIB, 1024 * GIB, 'bytes in /tmp'),
  inodes: whole(16, 10_000_000, 'files in /workspace and in /tmp'),
  openFiles: whole(16, 1_048_576, 'open descriptors per process'),
};

export const Limits: z.ZodType<Limits> = z.strictObject(shape);
export const LIMIT_NAMES = Object.keys(shape) as readonly (keyof Limits)[];

export type SomeLimits = { readonly [K in keyof Limits]?: number };
export const SomeLimits: z.ZodType<SomeLimits> = z.strictObject(
  Object.fromEntries(Object.entries(shape).map(([name, schema]) => [name, schema.optional()])),
);

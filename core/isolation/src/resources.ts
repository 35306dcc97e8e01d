import type { Limits } from '@caisson/contract';

export const CPU_PERIOD_US = 100_000;

const SOCKET_SHARE = 4;

/** cgroup v1 counts socket buffers apart from memory, and without a limit of their own not at all. */
export function socketLimitBytes({ memoryBytes }: Pick<Limits, 'memoryBytes'>): number {
  return Math.ceil(memoryBytes / SOCKET_SHARE);
}

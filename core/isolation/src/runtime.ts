import { levelOf, type HostFacts, type Level, type RuntimeFacts } from '@caisson/contract';

/**
 * The fastest runtime that delivers exactly this level and hands pid 1 its lanes; null where the host has none.
 * Compared by facts: another runtime needs no change here.
 */
export function chooseRuntime(level: Level, host: HostFacts): RuntimeFacts | null {
  const fitting = host.runtimes.filter((runtime) => levelOf(runtime) === level && runtime.controlChannel);
  return fitting.reduce<RuntimeFacts | null>(
    (fastest, runtime) => (fastest === null || runtime.typicalLaunchMs < fastest.typicalLaunchMs ? runtime : fastest),
    null,
  );
}

import { CaissonError, problem, type HostFacts, type IsolationSpec } from '@caisson/contract';
import { belowFloor, chooseRuntime, needsOf, noRuntime } from '@caisson/isolation';
import type { Driver, LaunchOptions, LiveMachine, RestoredExec, RestoreOptions } from './driver.ts';

export interface LauncherRoom {
  /** What the host can do; `again` measures it anew. */
  facts(again: boolean): Promise<HostFacts>;
  /** Gets ready for a launch that is likely to be asked for within milliseconds. */
  expect(): void;
  /** The driver of the runtime with this name. */
  driver(name: string): Driver | undefined;
}

/**
 * Starts a sandbox on the runtime that fits its level. Whoever the spec comes from, it passes the floor first.
 *
 * @throws CaissonError FLOOR_VIOLATED, LEVEL_UNAVAILABLE, LAUNCH_FAILED
 */
export async function launchOn(room: LauncherRoom, spec: IsolationSpec, options: LaunchOptions): Promise<LiveMachine> {
  return (await driverOn(room, spec)).launch(spec, options);
}

/**
 * Starts a sandbox from saved memory, on the same terms: what was saved is not what decides.
 *
 * @throws CaissonError FLOOR_VIOLATED, LEVEL_UNAVAILABLE, CHECKPOINT_UNAVAILABLE, CHECKPOINT_INVALID, LAUNCH_FAILED
 */
export async function restoreOn(room: LauncherRoom, spec: IsolationSpec, folder: string, options: RestoreOptions): Promise<{ readonly machine: LiveMachine; readonly execs: readonly RestoredExec[] }> {
  const driver = await driverOn(room, spec);
  if (driver.restore === undefined) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: spec.level, why: `${driver.facts.name} cannot restore processes` });
  return driver.restore(spec, folder, options);
}

async function driverOn(room: LauncherRoom, spec: IsolationSpec): Promise<Driver> {
  const violations = belowFloor(spec);
  if (violations.length > 0) throw new CaissonError('FLOOR_VIOLATED', { violations: violations.join('; ') });
  const facts = await room.facts(false);
  const runtime = chooseRuntime(needsOf(spec), facts);
  const driver = runtime === null ? undefined : room.driver(runtime.name);
  if (driver === undefined) throw unavailable(spec, facts);
  return driver;
}

function unavailable(spec: IsolationSpec, facts: HostFacts): CaissonError {
  const { what, how } = noRuntime(needsOf(spec), facts);
  return CaissonError.from(problem('LEVEL_UNAVAILABLE', { level: spec.level, missing: what, how }));
}

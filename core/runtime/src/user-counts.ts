import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CaissonError, type IsolationSpec } from '@caisson/contract';
import { boundArgs, type Placement } from '@caisson/isolation';

const run = promisify(execFile);
const BOUND_MS = 5_000;
/** Descriptor of the user namespace that a runtime is handed; the same as in native/users/users.h. */
const USER_NAMESPACE_FD = 9;

/**
 * How a runtime keeps apart what the kernel counts by user. `owned`: it enters a user namespace whose owner is the sandbox's own
 * root, so that the kernel charges nobody else. `bounded`: it makes the namespace itself, as the host's root, and a hook bounds it.
 */
export type Counting = 'owned' | 'bounded';

/** What the config says of it. */
export async function countsPlace(counting: Counting | undefined, tool: string): Promise<Pick<Placement, 'userNamespace' | 'countsHook'>> {
  if (counting === 'owned') return { userNamespace: `/proc/self/fd/${USER_NAMESPACE_FD}` };
  if (counting === 'bounded') return { countsHook: { program: tool, outside: (await stat('/proc/self/ns/user')).ino } };
  return {};
}

/** The command that starts a runtime, which is handed the namespace where it is to enter one. */
export function countedCommand(counting: Counting | undefined, { tool, hostUid, user, command }: {
  readonly tool: string;
  readonly hostUid: number;
  readonly user: IsolationSpec['user'];
  readonly command: { readonly path: string; readonly argv: readonly string[] };
}): { readonly path: string; readonly argv: readonly string[] } {
  if (counting !== 'owned') return command;
  return { path: tool, argv: ['own', `${hostUid}`, `${user.uid}`, `${user.gid}`, command.path, ...command.argv] };
}

/**
 * Bounds the counts of a process in a user namespace that somebody else has made.
 *
 * @param group Name of the control group that it is in, which nobody else's is
 * @throws CaissonError LAUNCH_FAILED where the process has gone, is not of this group or cannot be bounded
 */
export async function boundProcess(tool: string, { pid, group }: { readonly pid: number; readonly group: string }): Promise<void> {
  await run(tool, ['join', `${pid}`, group, ...boundArgs()], { timeout: BOUND_MS, killSignal: 'SIGKILL' }).catch((error: unknown) => {
    const { stderr = '', message } = error as Error & { readonly stderr?: string };
    const gone = /^process: (ENOENT|ESRCH)$/m.test(stderr); // a number that is another's by now is in another group
    throw new CaissonError('LAUNCH_FAILED', { detail: gone ? 'pid 1 ended before it spoke' : `what the kernel counts by user was not bounded: ${stderr.trim() || message}` });
  });
}

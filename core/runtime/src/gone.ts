import { CaissonError, type Usage } from '@caisson/contract';
import type { Exec, LiveMachine } from './driver.ts';

/** What can be told to an exec that has ended: nothing comes of it. */
export const OVER: Omit<Exec, 'done'> = {
  writeStdin: async () => undefined,
  endStdin: async () => undefined,
  signal: () => undefined,
  kill: () => undefined,
  resize: () => undefined,
};

/**
 * What stands for a machine that has ended, with what can still be asked of it and nothing else: neither its lanes and
 * buffers nor its spec. Nothing starts in it any more.
 */
export function goneMachine(id: string, { runtime, user, address, hello }: Pick<LiveMachine, 'runtime' | 'user' | 'address' | 'hello'>, usage: Usage): LiveMachine {
  const { counts: _, ...used } = usage;
  const lost = (): Exec => ({ ...OVER, done: Promise.resolve({ end: { kind: 'lost', detail: 'pid 1 of the sandbox is gone' }, written: { stdout: 0, stderr: 0 } }) });
  const refuse = async (): Promise<never> => {
    throw new CaissonError('SANDBOX_STATE', { sandbox: id, state: 'closed', detail: 'all of its processes have ended' });
  };
  return {
    runtime,
    user: { uid: user.uid, gid: user.gid },
    address,
    // In text of its own: what was cut out of pid 1's first word holds all of that.
    hello: JSON.parse(JSON.stringify(hello)) as LiveMachine['hello'],
    gone: Promise.resolve(),
    spawn: lost,
    dial: lost,
    pause: refuse,
    resume: refuse,
    usage: async () => ({ ...used, memoryBytes: null, pids: null }),
    close: async () => usage,
  };
}

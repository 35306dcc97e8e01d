import { setTimeout as delay } from 'node:timers/promises';
import { problemOf } from '@caisson/contract/errors';
import type { Caller } from './call.ts';

/** Pause before a process that went away is asked again, and longest that a call waits for one that is being started. */
export const AGAIN_MS = 50;
const PATIENCE_MS = 5_000;

export interface Question {
  readonly verb: string;
  readonly parameters: unknown;
  /** What is thrown when nobody answers in time, by what was said last. */
  readonly silent: (message: string) => Error;
  /** Whether the answer is still wanted; where it is not, there is none. Default: yes. */
  readonly isWanted?: () => boolean;
}

/** Asks until there is an answer, for a bounded time. Only for what can be asked twice. @returns undefined when it is not wanted any more */
export async function askPatiently(caller: Caller, { verb, parameters, silent, isWanted = () => true }: Question, signal: AbortSignal): Promise<unknown> {
  for (const untilMs = performance.now() + PATIENCE_MS; isWanted(); ) {
    try {
      return await caller.call(verb, parameters);
    } catch (error) {
      const { code, message } = problemOf(error);
      if (code !== 'DAEMON_UNREACHABLE') throw error;
      if (performance.now() > untilMs || signal.aborted) throw silent(message);
    }
    await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

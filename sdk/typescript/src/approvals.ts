import { setTimeout as delay } from 'node:timers/promises';
import { connected, type Connecting } from './connection.ts';
import type { HeldAttempt } from './generated.ts';
import { askJson } from './http.ts';

const APPROVALS = '/v1/approvals';
const EVERY_MS = 500;

/** How long an approval holds of the same again: `once` is for what waits now; milliseconds, at most a day; or as long as the sandbox lives. */
export type ApprovalSpan = 'once' | 'sandbox' | number;

/** A decision that was made. */
export interface Decided extends HeldAttempt {
  readonly decision: 'allow' | 'deny';
  /** Until when it holds of the same again, in milliseconds since 1970 UTC; null: as long as the sandbox lives. */
  readonly untilMs: number | null;
}

/** Which attempts are listed. Default: those of all sandboxes. */
export interface ApprovalFilter {
  /** Id of a sandbox. */
  readonly sandbox?: string;
}

function decide(id: string, answer: { readonly decision: 'allow' | 'deny'; readonly for?: ApprovalSpan }, { signal, connection }: Connecting): Promise<Decided> {
  return askJson(connected(connection), { method: 'POST', path: `${APPROVALS}/${encodeURIComponent(id)}`, json: answer, repeatable: false, signal });
}

/**
 * What sandboxes wait for because only rules with `hold` allow it. Over TCP it takes a token with the scope `approvals`, which no
 * other scope holds: never give it to what runs in a sandbox.
 */
export const Approvals = {
  /** What waits now, of each sandbox its oldest first. @throws CaissonError SCOPE_MISSING */
  async list({ sandbox, signal, connection }: Connecting & ApprovalFilter = {}): Promise<readonly HeldAttempt[]> {
    const { approvals } = await askJson<{ readonly approvals: readonly HeldAttempt[] }>(connected(connection), { method: 'GET', path: APPROVALS, repeatable: true, signal });
    return sandbox === undefined ? approvals : approvals.filter((held) => held.sandbox === sandbox);
  },

  /**
   * What waits now and what comes to wait, each once, until the signal is aborted, whose reason it then throws.
   *
   * @param everyMs how often the list is asked for, in milliseconds. Default 500
   * @throws CaissonError SCOPE_MISSING
   */
  async *watch({ everyMs = EVERY_MS, ...options }: Connecting & ApprovalFilter & { readonly everyMs?: number } = {}): AsyncGenerator<HeldAttempt, void> {
    for (let seen: ReadonlySet<string> = new Set(); ; ) {
      const held = await Approvals.list(options);
      for (const attempt of held) if (!seen.has(attempt.id)) yield attempt;
      seen = new Set(held.map(({ id }) => id));
      await delay(everyMs, undefined, options.signal === undefined ? {} : { signal: options.signal }).catch(() => options.signal?.throwIfAborted());
    }
  },

  /**
   * Lets pass what waits under this id, and the same again for as long as `for` says. Default: nothing after it.
   *
   * @throws CaissonError APPROVAL_NOT_FOUND: nothing waits under this id, or not any more; SCOPE_MISSING; CONNECTION_LOST: whether
   * it was decided is not known, and a list tells
   */
  allow(id: string, { for: span = 'once', ...options }: Connecting & { readonly for?: ApprovalSpan } = {}): Promise<Decided> {
    return decide(id, { decision: 'allow', for: span }, options);
  },

  /** Refuses what waits under this id, and the same again for a minute. @throws as `allow` does */
  deny(id: string, options: Connecting = {}): Promise<Decided> {
    return decide(id, { decision: 'deny' }, options);
  },
} as const;

import type { IncomingMessage } from 'node:http';
import { CaissonError } from '@caisson/contract';
import { admit, type Caller, type Right } from './access.ts';
import { take, type Bucket, type Rate } from './bucket.ts';
import type { Tokens } from './token-store.ts';

/** Who may come in now: the order of what is asked of every request before a byte of its body is read. */
export interface Gate {
  /** @throws CaissonError DRAINING, HOST_REFUSED, TOKEN_INVALID, RATE_LIMITED, SCOPE_MISSING */
  enter(request: IncomingMessage, right: Right, overTcp: boolean): Caller;
  /** From here on nobody comes in. */
  shut(): void;
}

/** Refused because too many came: when to come again. */
export class TooMany extends CaissonError {
  readonly retryAfterSeconds: number;

  constructor(waitMs: number) {
    super('RATE_LIMITED', { detail: `there is room again in ${waitMs} ms` });
    this.retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  }
}

export function openGate({ tokens, hosts, rate, now }: { readonly tokens: Tokens; readonly hosts: readonly string[]; readonly rate: Rate; readonly now: () => number }): Gate {
  const buckets = new Map<string, Bucket>();
  const state = { shut: false };
  tokens.onRevoked((id) => buckets.delete(id));

  function spend(token: string): void {
    const taken = take(buckets.get(token), now(), rate);
    buckets.set(token, taken.bucket);
    if (taken.waitMs > 0) throw new TooMany(taken.waitMs);
  }

  return {
    enter(request, right, overTcp) {
      if (state.shut) throw new CaissonError('DRAINING');
      return admit(request, right, { overTcp, hosts, tokens, spend });
    },
    shut: () => (state.shut = true),
  };
}

import { CaissonError } from '@caisson/contract';
import type { Caller } from './access.ts';

/** A connection that goes on: its signal says that it is over and why. */
export interface Stream extends Disposable {
  readonly signal: AbortSignal;
  end(reason: Error): void;
}

interface Open {
  readonly token: string | null;
  end(reason: Error): void;
}

/** Longest delay that a timer takes. */
const TIMER_MOST_MS = 2 ** 31 - 1;

/** Everything that is followed, attached or connected now: what a revoked token and a stopping Caisson cut. */
export class Streams {
  readonly #open = new Set<Open>();
  readonly #mostPerToken: number;
  readonly #now: () => number;
  #draining = false;

  constructor({ mostPerToken, now }: { readonly mostPerToken: number; readonly now: () => number }) {
    this.#mostPerToken = mostPerToken;
    this.#now = now;
  }

  get size(): number {
    return this.#open.size;
  }

  /** @throws CaissonError RATE_LIMITED, DRAINING */
  open({ token, expiresMs }: Caller): Stream {
    if (this.#draining) throw new CaissonError('DRAINING');
    if (token !== null && this.#of(token).length >= this.#mostPerToken) {
      throw new CaissonError('RATE_LIMITED', { detail: `a token may have ${this.#mostPerToken} streams open` });
    }
    const over = new AbortController();
    const entry: Open = { token, end: (reason) => over.abort(reason) };
    this.#open.add(entry);
    const expiry = expiresMs === null ? undefined : at(expiresMs, this.#now, () => entry.end(new CaissonError('TOKEN_INVALID')));
    return {
      signal: over.signal,
      end: entry.end,
      [Symbol.dispose]: () => {
        expiry?.[Symbol.dispose]();
        this.#open.delete(entry);
      },
    };
  }

  /** Cuts what a token has open. */
  cut(token: string): void {
    for (const { end } of this.#of(token)) end(new CaissonError('TOKEN_INVALID'));
  }

  /** Ends every stream; none can be opened after. */
  drain(): void {
    this.#draining = true;
    for (const { end } of this.#open) end(new CaissonError('DRAINING'));
  }

  #of(token: string): readonly Open[] {
    return [...this.#open].filter((open) => open.token === token);
  }
}

/** Calls back at a time, however far off: a timer that cannot wait so long is followed by the next. */
function at(timeMs: number, now: () => number, reached: () => void): Disposable {
  const arm = (): NodeJS.Timeout => {
    const leftMs = timeMs - now();
    if (leftMs <= TIMER_MOST_MS) return setTimeout(reached, leftMs);
    return setTimeout(() => (timer = arm()), TIMER_MOST_MS);
  };
  let timer = arm();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

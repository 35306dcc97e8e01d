import type { Box } from './box.ts';

/** The longest that a timer of the platform can wait. */
const TIMER_MS = 2 ** 31 - 1;

/** Closes sandboxes whose time is up: at their end at the latest, and when they have been idle for too long. */
export class Expiry implements Disposable {
  readonly #now: () => number;
  readonly #close: (box: Box, why: string) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #disposed = false;

  constructor(now: () => number, close: (box: Box, why: string) => void) {
    this.#now = now;
    this.#close = close;
  }

  /** Looks at a sandbox no more: a timer would hold it for as long as it might have lived. */
  forget({ facts: { id } }: Box): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  /** Looks at a sandbox now, and again when it may have expired. */
  watch(box: Box): void {
    this.forget(box);
    if (box.over || this.#disposed) return;
    const nowMs = this.#now();
    const expired = expiryOf(box, nowMs);
    if ('why' in expired) return this.#close(box, expired.why);
    const timer = setTimeout(() => this.watch(box), Math.min(TIMER_MS, expired.againMs - nowMs));
    timer.unref();
    this.#timers.set(box.facts.id, timer);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }
}

/** Why a sandbox has expired, or when to look again. A command, a connection or a transfer under way, or a pause, is not idleness. */
export function expiryOf(box: Pick<Box, 'expiresMs' | 'idleMs' | 'lastUsedMs' | 'running' | 'state' | 'uses'>, nowMs: number): { readonly why: string } | { readonly againMs: number } {
  if (nowMs >= box.expiresMs) return { why: 'its time to live is over' };
  if (box.idleMs === null || box.state === 'paused') return { againMs: box.expiresMs };
  const busy = box.running.length > 0 || box.uses > 0 || box.state !== 'running';
  const idleAtMs = (busy ? nowMs : box.lastUsedMs) + box.idleMs;
  if (nowMs >= idleAtMs) return { why: `it was idle for ${box.idleMs} ms` };
  return { againMs: Math.min(box.expiresMs, idleAtMs) };
}

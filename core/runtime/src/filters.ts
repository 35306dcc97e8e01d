import type { Seccomp } from '@caisson/contract';

/** Filters that are remembered: as many as a host has levels, and as policies may change while sandboxes live on. */
const REMEMBERED = 16;

/** Filters of system calls, each held once however many sandboxes have it: one has some hundred rules, and most have the same. */
export class Filters {
  readonly #byText = new Map<string, Seccomp>();

  /** The same filter: this one, or an equal one that another sandbox has. */
  share(filter: Seccomp): Seccomp {
    const text = JSON.stringify(filter);
    const known = this.#byText.get(text) ?? filter;
    this.#byText.delete(text); // the latest comes last
    this.#byText.set(text, known);
    const [oldest] = this.#byText.keys();
    if (this.#byText.size > REMEMBERED && oldest !== undefined) this.#byText.delete(oldest);
    return known;
  }
}

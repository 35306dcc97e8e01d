import { ruleName, type EgressDenied, type EgressRule } from '@caisson/contract';
import { allowing, type Layer, type LayerName } from './layers.ts';

const SLICE_MS = 1_000;
/** A minute, and the slice that is not over yet: a window that is never shorter than 60 s. */
const SLICES = 61;
/** Four layers of 256 rules. A rule beyond it is refused, so that changing rules for ever costs no more memory. */
const RULES_MOST = 1_024;

/** How much may be taken now. */
export type Taken = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

/**
 * Counts what happens within 60 s, in slices of one second: at most `limit` in any 60 s, and one that is refused may try
 * again up to a second later than it could. Holds 61 numbers, whatever is counted. Time is given in milliseconds
 * of a clock that does not go back; where it does, the latest time seen counts.
 */
export class Rate {
  readonly #counts = Array.from({ length: SLICES }, () => 0);
  #slice = 0;
  #total = 0;

  take(limit: number, nowMs: number): Taken {
    this.#advance(nowMs);
    if (this.#total >= limit) return { ok: false, retryAfterMs: this.#retryAfterMs(limit, nowMs) };
    this.#add(1);
    return { ok: true };
  }

  /** As `take`, without taking. */
  wouldTake(limit: number, nowMs: number): Taken {
    this.#advance(nowMs);
    return this.#total < limit ? { ok: true } : { ok: false, retryAfterMs: this.#retryAfterMs(limit, nowMs) };
  }

  /** Counts one whatever the limit: what only a record is made of. */
  count(nowMs: number): void {
    this.#advance(nowMs);
    this.#add(1);
  }

  #add(count: number): void {
    const at = this.#slice % SLICES;
    this.#counts[at] = (this.#counts[at] ?? 0) + count;
    this.#total += count;
  }

  #advance(nowMs: number): void {
    const now = Math.floor(nowMs / SLICE_MS);
    if (!(now > this.#slice)) return;
    for (let slice = Math.max(this.#slice + 1, now - SLICES + 1); slice <= now; slice++) {
      this.#total -= this.#counts[slice % SLICES] ?? 0;
      this.#counts[slice % SLICES] = 0;
    }
    this.#slice = now;
  }

  /** Until enough of the oldest slices have left the window. A limit of none never comes free. */
  #retryAfterMs(limit: number, nowMs: number): number {
    let left = this.#total;
    for (let age = SLICES - 1; age >= 0; age--) {
      left -= this.#counts[(this.#slice - age + SLICES) % SLICES] ?? 0;
      if (left < limit) return Math.max(1, (this.#slice - age + SLICES) * SLICE_MS - nowMs);
    }
    return Infinity;
  }
}

interface Spent {
  readonly rate: Rate;
  bytes: number;
}

/**
 * What one sandbox has used of the budgets of its rules. A connection, or a request of protocol `http`, counts against every
 * rule that allows it, in every layer, and each of them can refuse it. Rules are told apart by layer and name: two of one
 * layer with the same name share what they have used, and a rule that is changed goes on with what it has.
 */
export class Meter {
  readonly #spent = new Map<string, Spent>();

  /**
   * Counts one connection or request against the rules that allow it: all of them, or none when one refuses. Null: it may go on.
   * The refusal of a rule with `auditOnly` is `audit`, and it may go on.
   */
  open(layers: readonly Layer[], nowMs: number): { readonly denied: EgressDenied | null; readonly audit: EgressDenied | null } {
    const rules = allowing(layers);
    let audit: EgressDenied | null = null;
    for (const { layer, rule } of rules) {
      const refusal = this.#refusal(layer, rule, nowMs);
      if (refusal !== null && rule.auditOnly !== true) return { denied: refusal, audit: null };
      audit ??= refusal;
    }
    for (const key of keysOf(rules)) this.#spent.get(key)?.rate.count(nowMs);
    return { denied: null, audit };
  }

  /** Counts bytes that are about to pass, in either direction, against the rules that allow them. Denied: cut the connection. */
  pass(layers: readonly Layer[], bytes: number): { readonly denied: EgressDenied | null; readonly audit: EgressDenied | null } {
    const rules = allowing(layers);
    for (const key of keysOf(rules)) {
      const spent = this.#of(key);
      // Beyond the safe integers a sum could stand still.
      if (spent !== null) spent.bytes = Math.min(Number.MAX_SAFE_INTEGER, spent.bytes + bytes);
    }
    const over = rules.filter(({ layer, rule }) => rule.bytes !== undefined && (this.#of(keyOf(layer, rule))?.bytes ?? Infinity) > rule.bytes);
    const firm = over.find(({ rule }) => rule.auditOnly !== true);
    const [first] = over;
    return { denied: firm === undefined ? null : bytesDenied(firm.layer, firm.rule), audit: firm !== undefined || first === undefined ? null : bytesDenied(first.layer, first.rule) };
  }

  #refusal(layer: LayerName, rule: EgressRule, nowMs: number): EgressDenied | null {
    const spent = this.#of(keyOf(layer, rule));
    const name = ruleName(rule);
    if (spent === null) return { effect: 'deny', rule: name, reason: `more than ${RULES_MOST} rules have been counted for this sandbox`, wouldAllow: 'fewer rules, in a new sandbox' };
    if (rule.bytes !== undefined && spent.bytes >= rule.bytes) return bytesDenied(layer, rule);
    if (rule.perMinute === undefined) return null;
    const taken = spent.rate.wouldTake(rule.perMinute, nowMs);
    if (taken.ok) return null;
    return {
      effect: 'deny',
      rule: name,
      reason: `"${name}" of the ${layer} allows ${rule.perMinute} within 60 s`,
      wouldAllow: `the same in ${Math.ceil(taken.retryAfterMs / 1_000)} s, or a greater perMinute`,
    };
  }

  #of(key: string): Spent | null {
    const known = this.#spent.get(key);
    if (known !== undefined) return known;
    if (this.#spent.size >= RULES_MOST) return null;
    const spent: Spent = { rate: new Rate(), bytes: 0 };
    this.#spent.set(key, spent);
    return spent;
  }
}

function keyOf(layer: LayerName, rule: EgressRule): string {
  return `${layer} ${ruleName(rule)}`;
}

function keysOf(rules: readonly { readonly layer: LayerName; readonly rule: EgressRule }[]): ReadonlySet<string> {
  return new Set(rules.map(({ layer, rule }) => keyOf(layer, rule)));
}

function bytesDenied(layer: LayerName, rule: EgressRule): EgressDenied {
  const name = ruleName(rule);
  return { effect: 'deny', rule: name, reason: `the ${rule.bytes} bytes that "${name}" of the ${layer} allows have passed`, wouldAllow: 'a greater bytes' };
}

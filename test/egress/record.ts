import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { EgressTold, StatePaths } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';

const RECORDED_MS = 15_000;

/** What the gate put on record of one sandbox. */
export interface EgressEvent {
  readonly event: string;
  readonly what?: string;
  readonly to?: string;
  readonly host?: string;
  readonly port?: number;
  readonly address?: string | null;
  readonly reason?: string;
  readonly rule?: string | null;
  readonly others?: number;
  readonly cut?: string | null;
  readonly bytesOut?: number;
  readonly told?: EgressTold;
  readonly again?: readonly { readonly to: string; readonly more: number }[];
}

/** The record of one sandbox. */
export interface Recorded {
  events(): Promise<readonly EgressEvent[]>;
  /** Waits until each of these texts is on record, in an event `refused` or a later count. */
  refusals(texts: readonly (string | RegExp)[]): Promise<void>;
}

export function recordOf({ evidence }: StatePaths, id: string): Recorded {
  const events = async (): Promise<readonly EgressEvent[]> => {
    const found: EgressEvent[] = [];
    for await (const { entry } of readEntries(evidence)) if (entry.kind === 'egress' && entry.subject === id) found.push(entry.body as unknown as EgressEvent);
    return found;
  };
  return {
    events,
    async refusals(texts) {
      for (const untilMs = performance.now() + RECORDED_MS; ; await delay(100)) {
        const seen = (await events()).filter(({ event }) => event === 'refused').map(({ what = '', to = '', reason = '' }) => `${what} ${to}: ${reason}`);
        const missing = texts.filter((text) => !seen.some((line) => (typeof text === 'string' ? line.includes(text) : text.test(line))));
        if (missing.length === 0) return;
        assert.ok(performance.now() < untilMs, `not on record: ${missing.join(', ')}; there is\n${seen.join('\n')}`);
      }
    },
  };
}

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { canonicalJson, type Entry, type EntryKind, type Json } from '@caisson/contract';
import type { Logged } from '@caisson/projection';
import { stream, type Stream } from './streams.ts';

const ALLOW = { effect: 'allow', rule: 'within-policy', reason: 'no limit is above its maximum' };
const DENY = { effect: 'deny', rule: 'limit', reason: 'memoryBytes is above its maximum' };
const START_MS = 1_700_000_000_000;

export const callIntent = (caller: string, more: object = {}): Json => ({
  caller, program: 'true', arguments: 0, variables: 0, request: 'a'.repeat(64), policy: 'b'.repeat(64), decision: ALLOW, level: 'container', limits: { pids: 50 }, network: null, secrets: [], notEnforced: [], ...more,
});
export const sandboxIntent = (caller: string, more: object = {}): Json => ({
  what: 'sandbox', caller, image: 'host', variables: 0, from: null, memory: false, network: null, secrets: [], request: 'a'.repeat(64), policy: 'b'.repeat(64), decision: ALLOW, level: 'container', limits: { pids: 50 }, notEnforced: [], ttlMs: 60_000, idleMs: null, ...more,
});
export const execIntent = (caller: string, sandbox: string, more: object = {}): Json => ({
  what: 'exec', sandbox, caller, program: 'make', arguments: 1, variables: 0, tty: false, request: 'c'.repeat(64), decision: ALLOW, limits: { wallMs: 1000 }, ...more,
});
export const denied = { decision: DENY, level: null, limits: null };
export const ended = (kind: string, more: object = {}): Json => ({ ending: { kind, ...more }, ...(kind === 'unknown' ? { exit: 'unknown' } : { exit: 0 }) });

export const beat = (settledUpTo: number, unrecorded: readonly number[] = [], unrecordedCount = unrecorded.length): Json => ({ settledUpTo, unrecorded, unrecordedCount });

/** A log that is written entry by entry, with the time and places that the scribe and the sources would give. */
export interface Writing {
  readonly entries: Entry[];
  add(kind: EntryKind, subject: string, body: Json, more?: Partial<Entry>): Entry;
}

export function writing(): Writing {
  const entries: Entry[] = [];
  const seqs = new Map<string, number>();
  return {
    entries,
    add(kind, subject, body, more = {}) {
      const source = more.source ?? (kind === 'egress' ? 'gate' : 'control');
      const seq = (seqs.get(source) ?? 0) + 1;
      seqs.set(source, seq);
      const run = createHash('sha256').update(source).digest('hex').slice(0, 32);
      const entry: Entry = { index: entries.length, timeMs: START_MS + entries.length * 7, kind, source, subject, body, origin: { run, seq }, ...more };
      entries.push(entry);
      return entry;
    },
  };
}

/** Entries with a hash of the log up to each of them. */
export function logged(entries: readonly Entry[]): readonly Logged[] {
  let hash = '';
  return entries.map((entry) => {
    hash = createHash('sha256').update(hash).update(canonicalJson(entry as unknown as Json)).digest('hex');
    return { entry, hash };
  });
}

interface Live {
  readonly id: string;
  readonly agent: string;
  readonly secrets: readonly string[];
  paused: boolean;
}

/** A log of that many entries, as an instance would write it that does a bit of everything. The same seed gives the same bytes. */
export function madeLog(seed: string, length: number): readonly Entry[] {
  const made = writing();
  const act = stream(seed, 'acts');
  const ids = stream(seed, 'ids');
  const state: Making = { made, act, ids, live: [], execs: [], layers: [], connection: 0 };
  while (made.entries.length < length) act.pick(ACTS)(state);
  return made.entries.slice(0, length);
}

interface Making {
  readonly made: Writing;
  readonly act: Stream;
  readonly ids: Stream;
  readonly live: Live[];
  readonly execs: { readonly id: string; readonly box: Live }[];
  readonly layers: string[];
  connection: number;
}

const id = ({ ids }: Making, kind: string): string => `${kind}-${ids.hex(16)}`;
const AGENTS = ['operator', 'token:build', 'token:größe', '__proto__'];
const ENDINGS = ['exited', 'exited', 'exited', 'signaled', 'timed-out', 'unknown', 'failed'];

const ACTS: readonly ((making: Making) => void)[] = [
  (making) => {
    const { made, act } = making;
    const subject = id(making, 'sbx');
    const isDenied = act.below(5) === 0;
    made.add('intent', subject, callIntent(act.pick(AGENTS), isDenied ? denied : {}));
    made.add('outcome', subject, ended(isDenied ? 'refused' : act.pick(ENDINGS), { detail: 'so it was' }));
  },
  (making) => {
    const { made, act, live } = making;
    if (live.length > 12) return;
    const box: Live = { id: id(making, 'sbx'), agent: act.pick(AGENTS), secrets: act.below(3) === 0 ? ['github'] : [], paused: false };
    live.push(box);
    made.add('intent', box.id, sandboxIntent(box.agent, { network: act.below(2) === 0 ? null : ['example.com:443'], secrets: box.secrets }));
  },
  (making) => {
    const { made, act, live, execs } = making;
    const box = live.filter(({ paused }) => !paused)[act.below(4)];
    if (box === undefined) return;
    const exec = { id: id(making, 'exe'), box };
    execs.push(exec);
    made.add('intent', exec.id, execIntent(box.agent, box.id));
  },
  (making) => {
    const exec = making.execs.shift();
    if (exec !== undefined) making.made.add('outcome', exec.id, ended(making.act.pick(ENDINGS), { detail: 'so it was' }));
  },
  (making) => {
    const { made, act, live } = making;
    const box = live[act.below(6)];
    if (box === undefined) return;
    made.add('lifecycle', box.id, { event: box.paused ? 'resume' : 'pause', caller: box.agent });
    box.paused = !box.paused;
  },
  (making) => {
    const { made, act, live, layers } = making;
    const box = live[act.below(6)];
    if (box === undefined) return;
    layers.push(id(making, 'lay'));
    made.add('lifecycle', box.id, { event: 'snapshot', caller: box.agent, layer: layers.at(-1) ?? '', memory: false });
    if (layers.length > 8) made.add('lifecycle', layers.shift() ?? '', { event: 'remove-snapshot', caller: 'operator' });
  },
  (making) => {
    const { made, act, live } = making;
    const box = live[act.below(6)];
    if (box === undefined) return;
    const connection = (making.connection += 1);
    made.add('egress', box.id, { event: 'connect', connection, host: 'example.com', port: 443, protocol: 'tls', rule: 'r', reason: 'x', address: '192.0.2.1', exception: null, wouldBeDenied: null });
    if (box.secrets.length > 0) made.add('egress', box.id, { event: 'request', connection, host: 'example.com', port: 443, method: 'GET', path: '/', secrets: box.secrets.map((secret) => ({ secret, lease: 'l', digest: 'd' })) });
    made.add('egress', box.id, { event: 'closed', connection, address: '192.0.2.1', bytesOut: act.below(10_000), bytesIn: act.below(100_000), cut: null });
  },
  (making) => {
    const box = making.live[making.act.below(6)];
    if (box !== undefined) making.made.add('egress', box.id, { event: 'refused', what: 'name', to: 'evil.example', rule: null, reason: 'no rule', wouldAllow: null });
  },
  (making) => {
    const { made, live, execs } = making;
    if (live.length < 6) return;
    const box = live.shift();
    if (box === undefined) return;
    for (const exec of execs.filter((one) => one.box === box)) {
      execs.splice(execs.indexOf(exec), 1);
      made.add('outcome', exec.id, ended('cancelled', { detail: 'the sandbox was closed' }));
    }
    made.add('egress', box.id, { event: 'dismissed', connections: 1, bytesOut: 5, bytesIn: 7, refused: 0 });
    made.add('outcome', box.id, ended('closed', { detail: 'closed by operator' }));
  },
  ({ made, act }) => void (act.below(8) === 0 && made.add('heartbeat', 'control', { settledUpTo: made.entries.filter(({ source }) => source === 'control').length, unrecorded: [], unrecordedCount: 0 })),
  ({ made, act }) => void (act.below(20) === 0 && made.add('alert', 'scribe', { alert: 'disk-nearly-full', severity: 'warning' })),
];

/** A folder that is gone at the end. */
export function folder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(`${tmpdir()}/caisson-projection-`);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

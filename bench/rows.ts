/** Share of the samples that are at most the value: 0.5 is the median. */
export type Share = 0.5 | 0.95;

/** One number that is held, or is to be held. */
export interface Row {
  readonly id: string;
  readonly metric: string;
  readonly unit: 'ms' | 'µs' | '/s' | 'MB/s' | 'MiB' | 's' | '%' | '×' | 'open';
  /** What each share may be at most; for rates, shares in % and what is to be open, at least. `beyond` names peers whose medians are added to it. */
  readonly bars: readonly { readonly share: Share; readonly limit: number; readonly beyond?: readonly string[] }[];
  /** What is measured beside it: which peers, and which of their times. */
  readonly peers?: { readonly time: 'run' | 'exec' | 'restore'; readonly names: readonly string[] };
  /** Who measures it. None: pending. */
  readonly source?: 'ours' | 'stay' | 'decision' | 'evidence' | 'sealed' | 'install' | 'egress';
}

export const ROWS: readonly Row[] = [
  {
    id: 'create-warm', metric: 'sandbox that stays: create → first exec, warm, by the SDK', unit: 'ms', bars: [{ share: 0.5, limit: 20 }, { share: 0.95, limit: 50 }],
    peers: { time: 'run', names: ['crun', 'runc', 'bwrap', 'docker', 'srt'] }, source: 'stay',
  },
  {
    id: 'create-stay', metric: 'sandbox that stays: create → first exec, cold, by the SDK', unit: 'ms', bars: [{ share: 0.5, limit: 60 }],
    peers: { time: 'run', names: ['crun', 'runc', 'bwrap', 'docker', 'srt'] }, source: 'stay',
  },
  {
    id: 'create-stay-gvisor', metric: 'sandbox that stays: create → first exec, cold, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 200 }],
    peers: { time: 'run', names: ['runsc'] }, source: 'stay',
  },
  {
    id: 'exec-stay', metric: 'exec round trip by the SDK, durable evidence on', unit: 'ms', bars: [{ share: 0.5, limit: 2 }],
    peers: { time: 'exec', names: ['crun', 'runc', 'docker'] }, source: 'stay',
  },
  { id: 'burst-stay', metric: 'burst of 100 sandboxes that stay, to first exec', unit: 'ms', bars: [{ share: 0.95, limit: 1500 }], source: 'stay' },
  { id: 'snapshot', metric: 'snapshot of a 1 GB workspace, live', unit: 'ms', bars: [{ share: 0.5, limit: 50 }], source: 'stay' },
  { id: 'fork', metric: 'fork of a 1 GB workspace, live', unit: 'ms', bars: [{ share: 0.5, limit: 50 }], source: 'stay' },
  {
    id: 'create-container', metric: 'create → first exec, cold, level container', unit: 'ms', bars: [{ share: 0.5, limit: 60 }],
    peers: { time: 'run', names: ['crun', 'runc', 'bwrap', 'docker', 'srt'] }, source: 'ours',
  },
  {
    id: 'create-gvisor', metric: 'create → first exec, cold, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 200 }],
    peers: { time: 'run', names: ['runsc'] }, source: 'ours',
  },
  {
    id: 'run', metric: './caisson run, end to end, level container', unit: 'ms', bars: [{ share: 0.5, limit: 60, beyond: ['crun', 'node'] }],
    peers: { time: 'run', names: ['crun', 'node', 'docker', 'srt'] }, source: 'ours',
  },
  {
    id: 'restore', metric: 'restore of running processes, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 250 }],
    peers: { time: 'restore', names: ['runsc'] }, source: 'stay',
  },
  {
    id: 'exec-container', metric: 'exec round trip, level container', unit: 'ms', bars: [{ share: 0.5, limit: 2 }, { share: 0.95, limit: 5 }],
    peers: { time: 'exec', names: ['crun', 'runc', 'docker'] }, source: 'ours',
  },
  {
    id: 'exec-gvisor', metric: 'exec round trip, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 6 }],
    peers: { time: 'exec', names: ['runsc'] }, source: 'ours',
  },
  { id: 'burst', metric: 'burst of 100 creates, cold, to first exec', unit: 'ms', bars: [{ share: 0.95, limit: 1500 }], source: 'ours' },
  { id: 'idle', metric: 'idle sandbox, memory of the whole host', unit: 'MiB', bars: [{ share: 0.5, limit: 5 }], source: 'stay' },
  { id: 'decision', metric: 'decision', unit: 'µs', bars: [{ share: 0.95, limit: 50 }], source: 'decision' },
  { id: 'append', metric: 'durable append', unit: 'ms', bars: [{ share: 0.95, limit: 5 }], source: 'evidence' },
  { id: 'append-rate', metric: 'durable appends, 64 under way', unit: '/s', bars: [{ share: 0.5, limit: 5000 }], source: 'evidence' },
  { id: 'append-sealed', metric: 'durable append with a sealed payload and a keyed digest', unit: 'ms', bars: [{ share: 0.95, limit: 5 }], source: 'sealed' },
  { id: 'append-sealed-rate', metric: 'durable appends with a sealed payload and a keyed digest, 64 under way', unit: '/s', bars: [{ share: 0.5, limit: 5000 }], source: 'sealed' },
  { id: 'verify-million', metric: '1,000,000 entries verified', unit: 's', bars: [{ share: 0.5, limit: 60 }], source: 'evidence' },
  { id: 'verify-memory', metric: '1,000,000 entries verified: memory of the process at its peak', unit: 'MiB', bars: [{ share: 0.5, limit: 400 }], source: 'evidence' },
  { id: 'start-million', metric: 'scribe of 1,000,000 entries started', unit: 'ms', bars: [{ share: 0.5, limit: 1000 }], source: 'evidence' },
  { id: 'proof', metric: 'proof of one of 1,000,000 entries, from its files', unit: 'ms', bars: [{ share: 0.95, limit: 10 }], source: 'evidence' },
  { id: 'egress', metric: 'added latency of a new connection by name, durable evidence on', unit: 'ms', bars: [{ share: 0.5, limit: 2 }], source: 'egress' },
  { id: 'egress-stream', metric: '1 GB stream through the gate, of the throughput of a bare relay in Node', unit: '%', bars: [{ share: 0.5, limit: 60 }], source: 'egress' },
  { id: 'egress-fair', metric: 'p95 of new connections beside a sandbox that saturates the gate, to p95 alone', unit: '×', bars: [{ share: 0.5, limit: 2 }], source: 'egress' },
  { id: 'egress-open', metric: 'connections of one sandbox that hold', unit: 'open', bars: [{ share: 0.5, limit: 1000 }], source: 'egress' },
  { id: 'disclosure', metric: 'disclosure filter, clean text, per core', unit: 'MB/s', bars: [{ share: 0.5, limit: 100 }] },
  { id: 'install', metric: 'install → first governed call', unit: 's', bars: [{ share: 0.5, limit: 60 }], source: 'install' },
];

/** Samples of a row, ours and those of peers, in its unit. */
export interface Measured {
  readonly row: Row;
  readonly caisson: readonly number[];
  readonly peers: Readonly<Record<string, readonly number[]>>;
}

/** The value that a share of the samples does not exceed. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Whether more is better. */
const isRate = ({ unit }: Row): boolean => unit.endsWith('/s') || unit === '%' || unit === 'open';

/** Whether every bar of the row holds. */
export function isMet({ row, caisson, peers }: Measured): boolean {
  return row.bars.every(({ share, limit, beyond = [] }) => {
    const most = beyond.reduce((sum, name) => sum + quantile(peers[name] ?? [], 0.5), limit);
    const value = quantile(caisson, share);
    return isRate(row) ? value >= most : value <= most;
  });
}

export function barText(row: Row): string {
  const one = ({ share, limit, beyond }: Row['bars'][number]): string =>
    `${isRate(row) ? '≥' : `p${share * 100} ≤`} ${[...(beyond ?? []), `${limit} ${row.unit}`].join(' + ')}`;
  return row.bars.map(one).join(', ');
}

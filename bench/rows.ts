/** Share of the samples that are at most the value: 0.5 is the median. */
export type Share = 0.5 | 0.95;

/** One number that is held, or is to be held. */
export interface Row {
  readonly id: string;
  readonly metric: string;
  readonly unit: 'ms' | 'µs' | '/s' | 'MB/s' | 'MiB' | 's';
  /** What each share may be at most; for rates, at least. `beyond` names peers whose medians are added to it. */
  readonly bars: readonly { readonly share: Share; readonly limit: number; readonly beyond?: readonly string[] }[];
  /** What is measured beside it: which peers, and which of their two times. */
  readonly peers?: { readonly time: 'run' | 'exec'; readonly names: readonly string[] };
  /** Who measures it. None: pending. */
  readonly source?: 'ours' | 'decision' | 'evidence';
}

export const ROWS: readonly Row[] = [
  { id: 'create-warm', metric: 'create → first exec, warm', unit: 'ms', bars: [{ share: 0.5, limit: 20 }, { share: 0.95, limit: 50 }] },
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
  { id: 'restore', metric: 'restore of running processes, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 250 }] },
  {
    id: 'exec-container', metric: 'exec round trip, level container', unit: 'ms', bars: [{ share: 0.5, limit: 2 }, { share: 0.95, limit: 5 }],
    peers: { time: 'exec', names: ['crun', 'runc', 'docker'] }, source: 'ours',
  },
  {
    id: 'exec-gvisor', metric: 'exec round trip, level gvisor', unit: 'ms', bars: [{ share: 0.5, limit: 6 }],
    peers: { time: 'exec', names: ['runsc'] }, source: 'ours',
  },
  { id: 'burst', metric: 'burst of 100 creates, cold, to first exec', unit: 'ms', bars: [{ share: 0.95, limit: 1500 }], source: 'ours' },
  { id: 'idle', metric: 'idle sandbox, memory', unit: 'MiB', bars: [{ share: 0.5, limit: 5 }] },
  { id: 'decision', metric: 'decision', unit: 'µs', bars: [{ share: 0.95, limit: 50 }], source: 'decision' },
  { id: 'append', metric: 'durable append', unit: 'ms', bars: [{ share: 0.95, limit: 5 }], source: 'evidence' },
  { id: 'append-rate', metric: 'durable appends, 64 under way', unit: '/s', bars: [{ share: 0.5, limit: 5000 }], source: 'evidence' },
  { id: 'egress', metric: 'added egress latency', unit: 'ms', bars: [{ share: 0.5, limit: 2 }] },
  { id: 'disclosure', metric: 'disclosure filter, clean text, per core', unit: 'MB/s', bars: [{ share: 0.5, limit: 100 }] },
  { id: 'install', metric: 'install → first governed call', unit: 's', bars: [{ share: 0.5, limit: 60 }] },
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

const isRate = ({ unit }: Row): boolean => unit.endsWith('/s');

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

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { measurePeers, repeat, type PeerReport } from './peers/index.ts';
import { ROWS, type Measured, type Row } from './rows.ts';
import { measuredText, pendingText } from './table.ts';

const ROOT = join(import.meta.dirname, '..');
/** Runs of each command, ours and the peers'. */
const COUNT = 50;

/** Row id → samples in the row's unit, or the reason why there are none. */
type Samples = Readonly<Record<string, readonly number[] | string>>;

const SOURCES: Readonly<Record<NonNullable<Row['source']>, () => Promise<Samples>>> = {
  async ours() {
    const { benchOurs } = await import('./ours.ts');
    return benchOurs({ count: COUNT });
  },
  async stay() {
    const { benchStay } = await import('./stay.ts');
    return benchStay({ count: COUNT });
  },
  async decision() {
    const { benchDecision } = await import('./decision.ts');
    return { decision: benchDecision().samples };
  },
  async install() {
    const { benchInstall } = await import('./install.ts');
    return { install: await benchInstall() };
  },
  async egress() {
    const { benchEgress } = await import('./egress.ts');
    return benchEgress();
  },
  async sealed() {
    const { benchSealed } = await import('./sealed.ts');
    const dir = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-sealed-'));
    try {
      const { samples, appendsPerSecond } = await benchSealed({ dir });
      return { 'append-sealed': samples, 'append-sealed-rate': [appendsPerSecond] };
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
  async evidence() {
    const { benchEvidence } = await import('./evidence.ts');
    const dir = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-evidence-'));
    try {
      const { samples, appendsPerSecond, ...million } = await benchEvidence({ dir });
      return { append: samples, 'append-rate': [appendsPerSecond], 'verify-million': [million.verifySeconds], 'verify-memory': [million.verifyMiB], 'start-million': [million.startMs], proof: million.proofsMs };
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
};

/** Measures the rows that a name selects (all without one), prints them and keeps the raw data. */
async function bench(names: readonly string[]): Promise<number> {
  if (names.length === 1 && names[0] === 'curve') {
    const { benchCurve } = await import('./curve.ts');
    process.stdout.write(`${relative(process.cwd(), await benchCurve())}\n`);
    return 0;
  }
  const rows = ROWS.filter(({ id, source }) => names.length === 0 || names.some((name) => id.includes(name) || name === source));
  if (rows.length === 0) {
    process.stderr.write(`error: no bench ${names.join(' ')}\nhint: one of curve ${ROWS.map(({ id }) => id).join(' ')}\n`);
    return 2;
  }
  const started = new Date();
  const samples = await measureOurs(rows);
  const peers = rows.some((row) => row.peers !== undefined) ? await measureOthers() : { times: [], missing: new Map() };

  const measured: Measured[] = [];
  for (const row of rows) {
    const own = samples[row.id] ?? 'what it measures is not built yet';
    if (typeof own === 'string') process.stdout.write(`${pendingText(row, own)}\n`);
    else {
      const one = { row, caisson: own, peers: peersOf(row, peers) };
      measured.push(one);
      process.stdout.write(`${measuredText(one)}\n`);
    }
  }
  for (const [name, why] of peers.missing) process.stdout.write(`not measured: ${name}: ${why}\n`);
  process.stdout.write(`raw data: ${relative(process.cwd(), await keep(started, measured, peers))}\n`);
  return 0;
}

async function measureOurs(rows: readonly Row[]): Promise<Samples> {
  const all: Record<string, readonly number[] | string> = {};
  for (const source of new Set(rows.flatMap((row) => row.source ?? []))) {
    process.stderr.write(`measuring ${source}\n`);
    Object.assign(all, await SOURCES[source]());
  }
  return all;
}

async function measureOthers(): Promise<PeerReport> {
  process.stderr.write('measuring peers\n');
  const { times, missing } = await measurePeers(ROOT, COUNT);
  const node = { name: 'node', run: await repeat(COUNT, [process.execPath, '-e', '0']), exec: [], restore: [] };
  return { times: [...times, node], missing };
}

function peersOf({ peers }: Row, { times }: PeerReport): Measured['peers'] {
  const wanted = times.filter(({ name }) => peers?.names.includes(name));
  return Object.fromEntries(wanted.map((peer) => [peer.name, peer[peers?.time ?? 'run']]));
}

/** Writes the samples, to the microsecond where they are milliseconds, and the machine they come from. */
async function keep(started: Date, measured: readonly Measured[], { missing }: PeerReport): Promise<string> {
  const folder = join(ROOT, 'bench/results');
  const path = join(folder, `${started.toISOString().slice(0, 19).replaceAll(':', '-')}-${release()}.json`);
  const round = (values: readonly number[]): readonly number[] => values.map((value) => Math.round(value * 1000) / 1000);
  const host = {
    kernel: release(), cpus: cpus().length, cpu: cpus()[0]?.model, memoryBytes: totalmem(), load: loadavg(), node: process.version,
    hybridCgroup: existsSync('/sys/fs/cgroup/unified'),
  };
  const rows = measured.map(({ row, caisson, peers }) => ({
    id: row.id, unit: row.unit, caisson: round(caisson), peers: Object.fromEntries(Object.entries(peers).map(([name, values]) => [name, round(values)])),
  }));
  await mkdir(folder, { recursive: true });
  await writeFile(`${path}.tmp`, `${JSON.stringify({ started, host, missing: Object.fromEntries(missing), rows })}\n`);
  await rename(`${path}.tmp`, path);
  return path;
}

process.exitCode = await bench(process.argv.slice(2));

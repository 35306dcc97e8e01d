import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { statePaths } from '@caisson/contract';
import { Sandbox } from '@caisson/sdk';
import { FAR, HOST, NAME, openGround, type Ground } from './egress/ground.ts';
import { quantile } from './rows.ts';

const ROOT = join(import.meta.dirname, '..');
const PARTS = join(import.meta.dirname, 'egress');
const PORTS = { echo: 7001, stream: 7002, relay: 7003 } as const;
/** Connections of each kind; streams of 1 GB of each kind; streams that saturate; connections that are open at once. */
const COUNTS = { warming: 100, latency: 500, streams: 5, saturating: 4, open: 1_000 } as const;
const WALL_MS = 300_000;

type Samples = Readonly<Record<string, readonly number[] | string>>;
type Client = (what: 'latency' | 'stream' | 'saturate' | 'hold', host: string, port: number, count: number) => Promise<unknown>;
interface Latency {
  readonly byName: readonly number[];
  readonly byAddress: readonly number[];
}

/** What the gate costs: each figure beside the same client and the same servers, as far away, without the gate. */
export async function benchEgress(): Promise<Samples> {
  try {
    return await measure();
  } catch (error) {
    const reason = `not measured here: ${(error as Error).message}`;
    return Object.fromEntries(['egress', 'egress-stream', 'egress-fair', 'egress-open'].map((id) => [id, reason]));
  }
}

async function measure(): Promise<Samples> {
  await using ground = await openGround();
  for (const kind of ['echo', 'stream'] as const) await ground.start('far', ['python3', `${PARTS}/far.py`, kind, `${PORTS[kind]}`]);
  await ground.start('host', [process.execPath, '--disable-warning=ExperimentalWarning', `${PARTS}/bare-relay.ts`, `${PORTS.relay}`, FAR, `${PORTS.stream}`]);
  const direct = clientNear(ground);
  await using create = await openCaisson(ground);
  await using one = await create();
  await using other = await create();
  return {
    egress: await added(direct, clientOf(one)),
    'egress-stream': await share(direct, clientOf(one)),
    'egress-fair': [await fairness(one, other)],
    'egress-open': [(await clientOf(one)('hold', NAME, PORTS.echo, COUNTS.open)) as number],
  };
}

/** Each new connection by name, lookup and record included, less the median of those that are made straight to the address. */
async function added(direct: Client, gate: Client): Promise<readonly number[]> {
  // The first connections are the compiler's: both ways have theirs before anything is measured.
  for (const [client, host] of [[direct, FAR], [gate, NAME]] as const) await client('latency', host, PORTS.echo, COUNTS.warming);
  const without = (await direct('latency', FAR, PORTS.echo, COUNTS.latency)) as Latency;
  const withGate = (await gate('latency', NAME, PORTS.echo, COUNTS.latency)) as Latency;
  const base = quantile(without.byAddress, 0.5);
  say('new connection', { direct: without.byAddress, 'by name': withGate.byName, 'by address of the name': withGate.byAddress }, 'ms');
  return withGate.byName.map((ms) => ms - base);
}

/** Throughput of one stream in percent of the bare relay's, taken in turn so that both have the same machine. */
async function share(direct: Client, gate: Client): Promise<readonly number[]> {
  const rates = { direct: [] as number[], relay: [] as number[], gate: [] as number[] };
  for (let n = 0; n < COUNTS.streams; n++) {
    rates.direct.push(...((await direct('stream', FAR, PORTS.stream, 1)) as number[]));
    rates.relay.push(...((await direct('stream', HOST, PORTS.relay, 1)) as number[]));
    rates.gate.push(...((await gate('stream', NAME, PORTS.stream, 1)) as number[]));
  }
  say('1 GB stream', { direct: rates.direct, 'bare relay': rates.relay, gate: rates.gate }, 'MB/s');
  return rates.gate.map((rate, n) => (rate * 100) / (rates.relay[n] ?? Number.NaN));
}

/** p95 of one sandbox's new connections while another takes all it gets, in multiples of what it was before. */
async function fairness(one: Sandbox, other: Sandbox): Promise<number> {
  const p95 = async (): Promise<readonly number[]> => ((await clientOf(one)('latency', NAME, PORTS.echo, COUNTS.latency)) as Latency).byName;
  const before = await p95();
  const load = await other.spawn(argvOf('near.py', 'saturate', NAME, PORTS.stream, COUNTS.saturating), { timeoutMs: WALL_MS });
  const loaded = await p95();
  await load.kill();
  say('new connection by name', { alone: before, 'beside one that saturates': loaded }, 'ms');
  return quantile(loaded, 0.95) / quantile(before, 0.95);
}

function say(what: string, kinds: Readonly<Record<string, readonly number[]>>, unit: string): void {
  const text = Object.entries(kinds).map(([kind, samples]) => `${kind} p50 ${quantile(samples, 0.5).toFixed(2)} p95 ${quantile(samples, 0.95).toFixed(2)}`);
  process.stderr.write(`${what} (${unit}): ${text.join('; ')}\n`);
}

const argvOf = (program: string, what: string, host: string, port: number, count: number): readonly string[] => ['python3', program, what, host, `${port}`, `${count}`];

const clientOf = (box: Sandbox): Client => async (what, host, port, count) => {
  const { stdout } = await box.exec(argvOf('near.py', what, host, port, count), { timeoutMs: WALL_MS, check: true });
  return JSON.parse(stdout) as unknown;
};

const clientNear = (ground: Ground): Client => async (what, host, port, count) => {
  const [program = '', ...args] = ground.inside('near', argvOf(`${PARTS}/near.py`, what, host, port, count));
  const { stdout } = await promisify(execFile)(program, args, { timeout: WALL_MS });
  return JSON.parse(stdout) as unknown;
};

type Creating = (() => Promise<Sandbox>) & AsyncDisposable;

/** A Caisson of the bench's own, and what makes sandboxes in it that may speak with the servers. */
async function openCaisson(ground: Ground): Promise<Creating> {
  const dir = await mkdtemp(join(process.env['CAISSON_BENCH_DIR'] ?? tmpdir(), 'caisson-bench-'));
  const env = { ...process.env, CAISSON_DIR: dir };
  const caisson = async (...argv: string[]): Promise<void> => {
    const [program = '', ...args] = ground.inside('host', [join(ROOT, 'caisson'), ...argv]);
    await promisify(execFile)(program, args, { env, timeout: 60_000 });
  };
  const policy = JSON.parse(await readFile(join(ROOT, 'profiles/policies/default.json'), 'utf8')) as object;
  await writeFile(join(dir, 'policy.json'), JSON.stringify({ ...policy, network: { connectionsPerMinute: 1_000_000 } }));
  const close = async (): Promise<void> => {
    await caisson('down').catch(() => undefined);
    await rm(dir, { recursive: true, force: true });
  };
  await caisson('up', '--detach').catch((error: unknown) => close().then(() => Promise.reject(error as Error)));
  const connection = { socket: statePaths({ env, uid: process.getuid?.() ?? 0, resolve }).apiSocket };
  const rules = [PORTS.echo, PORTS.stream].map((port) => ({ host: NAME, port }));
  const create = async (): Promise<Sandbox> => {
    const limits = { wallMs: 2 * WALL_MS, cpuMs: 2 * WALL_MS, openFiles: 4_096 };
    const box = await Sandbox.create({ limits, network: { rules }, keepAlive: true }, { connection });
    await box.files.write('near.py', await readFile(`${PARTS}/near.py`));
    return box;
  };
  return Object.assign(create, { [Symbol.asyncDispose]: close });
}

import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Level } from '@caisson/contract';
import { startCaisson, type Caisson } from '../harness.ts';
import { pidsOf } from '../limits/given.ts';
import { liveBytes } from '../limits/live-bytes.ts';
import { cycles, quietHolding, type Holding } from '../limits/stay-cycles.ts';
import { soak } from './soak.ts';

const RESULTS = resolve(import.meta.dirname, '../../bench/results');

/** Cycles between two looks at what is held. */
const CHUNK = 250;

interface Held extends Holding {
  readonly cycles: number;
  readonly liveKib: Readonly<Record<string, number>>;
}

const { values } = parseArgs({ options: { operations: { type: 'string' }, sandboxes: { type: 'string' }, seed: { type: 'string' }, kills: { type: 'string' }, levels: { type: 'string' }, cycles: { type: 'string' } } });
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** A number from the command line. */
function count(name: 'operations' | 'sandboxes' | 'seed' | 'kills' | 'cycles', unless: number): number {
  const value = Number(values[name] ?? unless);
  if (!(value >= 0)) throw new Error(`--${name} must be a number from 0 on`);
  return value;
}

/** Writes what came of it, and resolves to the exit status. */
function report(kind: string, result: object, failed: boolean): number {
  const path = `${RESULTS}/${kind}-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.json`;
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  say(`wrote ${path}`);
  return failed ? 1 : 0;
}

async function runSoak(): Promise<number> {
  const seed = count('seed', Math.floor(Math.random() * 2 ** 31));
  say(`seed ${seed}`);
  await using caisson = await startCaisson();
  const summary = await soak(caisson, { seed, operations: count('operations', 10_000), sandboxes: count('sandboxes', 50), kills: count('kills', 0.02), say, ...(values.levels === undefined ? {} : { levels: Level.array().parse(values.levels.split(',')) }) });
  if (summary.mismatch !== null) say([...summary.last, summary.mismatch, `again: ./dev soak --seed ${seed} --operations ${summary.operations}`].join('\n'));
  return report('soak', summary, summary.mismatch !== null);
}

/** What is held after so many cycles, and how much of it in the heap and in buffers can still be reached. */
async function held(caisson: Caisson, done: number): Promise<Held> {
  const holding = await quietHolding(caisson);
  const liveKib: Record<string, number> = {};
  for (const [name, pid] of Object.entries(await pidsOf(caisson))) liveKib[name] = Math.round((await liveBytes(pid)) / 1024);
  return { cycles: done, ...holding, liveKib };
}

async function runCycles(): Promise<number> {
  const all = count('cycles', 1_000);
  await using caisson = await startCaisson();
  const connection = { socket: caisson.paths.apiSocket };
  await cycles(connection, 50);
  const samples = [await held(caisson, 0)];
  let durationMs = 0;
  for (let done = 0; done < all; ) {
    const next = Math.min(CHUNK, all - done);
    const startMs = performance.now();
    await cycles(connection, next);
    durationMs += Math.round(performance.now() - startMs);
    samples.push(await held(caisson, (done += next)));
    say(JSON.stringify(samples.at(-1)));
  }
  return report('cycles', { cycles: all, durationMs, load: loadavg(), before: samples[0], after: samples.at(-1), samples }, samples.some(({ left }) => left.length > 0));
}

process.exitCode = values.cycles === undefined ? await runSoak() : await runCycles();

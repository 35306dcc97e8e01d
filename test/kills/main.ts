import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startCaisson } from '../harness.ts';
import { kills, type KillSummary } from './kills.ts';

const RESULTS = resolve(import.meta.dirname, '../../bench/results');

const { values } = parseArgs({ options: { kills: { type: 'string', default: '1000' }, instances: { type: 'string', default: '2' }, seed: { type: 'string' }, minutes: { type: 'string' } } });
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** A number from the command line. */
function count(name: 'kills' | 'instances' | 'seed' | 'minutes', unless: number): number {
  const value = Number(values[name] ?? unless);
  if (!(value >= 0)) throw new Error(`--${name} must be a number from 0 on`);
  return value;
}

async function one(number: number, seed: number, share: number): Promise<KillSummary> {
  await using caisson = await startCaisson();
  const minutes = count('minutes', Number.POSITIVE_INFINITY);
  return await kills(caisson, { seed, kills: share, mostMs: minutes * 60_000, say: (line) => say(`instance ${number}: ${line}`) });
}

const seed = count('seed', Math.floor(Math.random() * 2 ** 31));
const instances = Math.max(1, count('instances', 2));
say(`seed ${seed}`);
const runs = await Promise.all(Array.from({ length: instances }, (_, number) => one(number, seed + number, Math.ceil(count('kills', 1_000) / instances))));
const done = runs.reduce((sum, run) => sum + run.kills.scribe + run.kills.control + run.kills.launcher, 0);
const path = `${RESULTS}/kills-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.json`;
mkdirSync(RESULTS, { recursive: true });
writeFileSync(path, `${JSON.stringify({ seed, kills: done, load: loadavg(), wrong: runs.flatMap(({ wrong }) => wrong).length, runs }, null, 2)}\n`);
for (const { wrong, counted } of runs) say([JSON.stringify(counted), ...wrong].join('\n'));
say(`${done} kills\nwrote ${path}`);
process.exitCode = runs.some(({ wrong }) => wrong.length > 0) ? 1 : 0;

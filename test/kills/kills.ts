import { watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { readEntries, verifyLog } from '@caisson/evidence';
import { randomFrom } from '../faults/given.ts';
import { settledLeftovers } from '../faults/leftovers.ts';
import type { Caisson } from '../harness.ts';
import { Follower } from './follower.ts';
import { judge } from './judge.ts';
import { ask, effects, works, type Asked, type Worker } from './worker.ts';

const ROLES = ['scribe', 'control', 'launcher'] as const;
type Role = (typeof ROLES)[number];

/** Latest kill after the commands of a round have begun: a command takes 3 to 15 ms. */
const LATEST_MS = 30;
/** Latest kill after a write to the record: between it and the effect that follows lie about 2 ms. */
const AFTER_RECORD_MS = 3;
const PATIENCE_MS = 30_000;

export interface KillOptions {
  readonly seed: number;
  readonly kills: number;
  /** No further kill is begun after this long, in milliseconds. Default: no end. */
  readonly mostMs?: number;
  readonly say: (line: string) => void;
}

export interface KillSummary {
  readonly seed: number;
  readonly kills: Readonly<Record<Role, number>>;
  readonly durationMs: number;
  readonly entries: number;
  readonly checkpoints: number;
  readonly counted: Readonly<Record<string, number>>;
  readonly kinds: Readonly<Record<string, number>>;
  readonly state: string | null;
  readonly wrong: readonly string[];
}

interface Run {
  readonly caisson: Caisson;
  readonly options: KillOptions;
  readonly random: () => number;
  readonly workers: readonly Worker[];
  readonly killed: Record<Role, number>;
  /** The process that was killed last of each role: until another is there, there is none to kill. */
  readonly dead: Map<Role, number>;
}

/**
 * Kills scribe, control and launcher at random moments while commands run, and then holds effects, answers and record against
 * each other: no effect without an intent before it, none lost, one outcome for each, and one state of the log, however it came about.
 */
export async function kills(caisson: Caisson, options: KillOptions): Promise<KillSummary> {
  const startMs = performance.now();
  const random = randomFrom(options.seed);
  const asked: Asked[] = [];
  let token = 0;
  const workers = ['one', 'two', 'three'].map((workspace): Worker => ({ connection: { socket: caisson.paths.apiSocket }, workspace, random, fresh: () => (token += 1), asked, box: null }));
  const run: Run = { caisson, options, random, workers, killed: { scribe: 0, control: 0, launcher: 0 }, dead: new Map() };
  await using follower = new Follower(caisson.paths.evidence);
  const failure = await rounds(run).then(() => null, (error: unknown) => inspect(error));
  if (failure !== null) options.say(failure);
  const judged = failure === null ? await atTheEnd(run, follower, asked) : { wrong: [failure], counted: {}, kinds: {}, state: null };
  return { seed: options.seed, kills: run.killed, durationMs: Math.round(performance.now() - startMs), entries: follower.entries, checkpoints: follower.saved.length, ...judged };
}

async function rounds(run: Run): Promise<void> {
  const { options, workers, random, killed } = run;
  const endMs = performance.now() + (options.mostMs ?? Number.POSITIVE_INFINITY);
  const all = (): number => ROLES.reduce((sum, role) => sum + killed[role], 0);
  while (all() < options.kills && performance.now() < endMs) {
    await Promise.all(workers.map(works));
    const roles = [...new Set([pick(random), ...(random() < 0.2 ? [pick(random)] : [])])];
    await Promise.all([...workers.map((worker) => burst(worker, 4)), ...roles.map((role) => killOne(run, role))]);
    for (const role of roles) killed[role] += 1;
    if (all() % 50 < roles.length) options.say(`${all()} kills, ${workers[0]?.asked.length} commands`);
  }
  await Promise.all(workers.map(works));
}

const pick = (random: () => number): Role => ROLES[Math.floor(random() * ROLES.length)] ?? 'control';

async function burst(worker: Worker, commands: number): Promise<void> {
  for (let count = 0; count < commands; count++) if (!(await ask(worker))) return;
}

/** Kills a process at some time, or right after something was put on record: then a command is between two of its steps. */
async function killOne(run: Run, role: Role): Promise<void> {
  const { random, caisson, dead } = run;
  const pid = await living(run, role);
  const [afterWrites, afterMs] = random() < 0.5 ? [0, random() * LATEST_MS] : [1 + Math.floor(random() * 6), random() * AFTER_RECORD_MS];
  if (afterWrites > 0) await recorded(caisson.paths.evidence, afterWrites);
  await delay(afterMs);
  process.kill(pid, 'SIGKILL');
  dead.set(role, pid);
}

async function living({ caisson, dead }: Run, role: Role): Promise<number> {
  for (const untilMs = Date.now() + PATIENCE_MS; Date.now() < untilMs; await delay(10)) {
    const { processes } = await caisson.status();
    const pid = processes.find(({ name }) => name === role)?.pid;
    if (pid !== undefined && pid !== dead.get(role)) return pid;
  }
  throw new Error(`${role} was not started again`);
}

/** Resolves at the n-th write to the record, or when none has come for a while. */
async function recorded(evidence: string, writes: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let seen = 0;
  using watcher = disposable(watch(evidence, (_, name) => void (name?.startsWith('journal-') === true && (seen += 1) >= writes && resolve())));
  const timer = setTimeout(resolve, 100);
  await promise;
  clearTimeout(timer);
  void watcher;
}

function disposable(watcher: ReturnType<typeof watch>): Disposable {
  return { [Symbol.dispose]: () => watcher.close() };
}

async function atTheEnd({ caisson, workers, options }: Run, follower: Follower, asked: readonly Asked[]): Promise<Pick<KillSummary, 'wrong' | 'counted' | 'kinds' | 'state'>> {
  const { evidence } = caisson.paths;
  await openIntents(evidence, (subject) => subject.startsWith('sbx-')); // what still runs may still have its effect
  const found = (await Promise.all(workers.map(effects))).flat();
  for (const { box } of workers) await box?.close();
  const open = await openIntents(evidence, () => false);
  const left = await settledLeftovers(caisson.paths, PATIENCE_MS);
  const verified = await verifyLog(evidence);
  for (const untilMs = Date.now() + PATIENCE_MS; follower.entries < verified.entries && Date.now() < untilMs;) await delay(20);
  await follower.stop();
  const lines = await Array.fromAsync(readEntries(evidence));
  options.say(`judging ${found.length} effects by ${lines.length} entries`);
  const { wrong, counted, kinds, state } = judge({ lines, asked, effects: found, hashes: follower.hashes(lines) });
  return { wrong: [...(verified.bad === null ? [] : [`entry ${verified.bad.index} ${verified.bad.reason}`]), ...open.map((subject) => `${subject} has no outcome`), ...left.map((one) => `left: ${one}`), ...wrong], counted, kinds, state };
}

/** Waits until no intent but these is open; resolves to those that stay. */
async function openIntents(evidence: string, mayBe: (subject: string) => boolean): Promise<readonly string[]> {
  for (const untilMs = Date.now() + PATIENCE_MS; ; await delay(100)) {
    const open = (await verifyLog(evidence)).openIntents.filter((subject) => !mayBe(subject));
    if (open.length === 0 || Date.now() > untilMs) return open;
  }
}

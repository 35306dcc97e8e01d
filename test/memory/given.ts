import { mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { IsolationSpec } from '@caisson/contract';
import type { Exec, ExecEvents, LiveMachine, OutputStream, ProcessSpec, RestoreOptions } from '@caisson/runtime';
import { openGround, readHost, specFor, type Ground } from '../drivers/given.ts';

const MIB = 1024 * 1024;

/** A launcher's ground with a folder for checkpoints. */
export interface MemoryGround extends AsyncDisposable {
  readonly ground: Ground;
  /** A path at which no checkpoint is yet. */
  place(): string;
}

export async function openMemoryGround(runtime = 'runsc'): Promise<MemoryGround> {
  const ground = await openGround(runtime);
  const folder = mkdtempSync('/run/caisson-memory-');
  const taken: string[] = [];
  return {
    ground,
    place: () => `${folder}/${taken.push('') - 1}`,
    async [Symbol.asyncDispose]() {
      await ground[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Why tests with this runtime cannot run here, or false. */
export async function lacks(runtime: string): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root: cgroups cannot be made without it';
  return (await readHost()).runtimes.some(({ name }) => name === runtime) ? false : `${runtime} is not installed`;
}

/** The spec of a fork: another id and host name. */
export function forkOf(spec: IsolationSpec, ground: Ground, hostname = 'caisson-fork'): IsolationSpec {
  return { ...spec, id: specFor(ground.host).id, hostname };
}

/** The output of one exec as it comes. */
export class Output implements ExecEvents {
  readonly memo: string;
  stdout = '';
  stderr = '';

  constructor(memo: string) {
    this.memo = memo;
  }

  async onOutput(stream: OutputStream, bytes: Buffer): Promise<void> {
    this[stream] += bytes.toString();
  }

  get lines(): readonly string[] {
    return this.stdout.split('\n').slice(0, -1);
  }

  /** Resolves when there are this many whole lines. */
  async reach(count: number, withinMs = 20_000): Promise<readonly string[]> {
    for (const until = Date.now() + withinMs; this.lines.length < count; await delay(5)) {
      if (Date.now() > until) throw new Error(`${this.memo}: ${this.lines.length} lines and not ${count}: ${this.stdout.slice(-300)} ${this.stderr.slice(-300)}`);
    }
    return this.lines;
  }
}

export interface Started {
  readonly exec: Exec;
  readonly output: Output;
}

export function start(machine: LiveMachine, memo: string, argv: readonly string[], more: Partial<ProcessSpec> = {}): Started {
  const output = new Output(memo);
  const exec = machine.spawn({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/workspace', stdin: false, outputBytes: 64 * MIB, ...more }, output);
  return { exec, output };
}

export const launch = (ground: Ground, spec: IsolationSpec): Promise<LiveMachine> => ground.driver.launch(spec, { signal: new AbortController().signal });

export interface Restored {
  readonly machine: LiveMachine;
  /** By memo. */
  readonly execs: ReadonlyMap<string, Started>;
}

export async function restore(ground: Ground, spec: IsolationSpec, folder: string, more: Partial<RestoreOptions> = {}): Promise<Restored> {
  const outputs = new Map<string, Output>();
  const adopt = (memo: string): Output => {
    const output = new Output(memo);
    outputs.set(memo, output);
    return output;
  };
  if (ground.driver.restore === undefined) throw new Error('the driver restores nothing');
  const { machine, execs } = await ground.driver.restore(spec, folder, { signal: new AbortController().signal, adopt, ...more });
  return { machine, execs: new Map(execs.map(({ memo, exec }) => [memo, { exec, output: outputs.get(memo) ?? new Output(memo) }])) };
}

export async function checkpoint(machine: LiveMachine, folder: string): Promise<void> {
  if (machine.checkpoint === undefined) throw new Error('the machine saves nothing');
  await machine.checkpoint(folder);
}

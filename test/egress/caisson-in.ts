import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Policy, SupervisorStatus } from '@caisson/contract';
import type { ConnectionOptions } from '@caisson/sdk';
import { Caller } from '@caisson/wire';
import { shippedPolicy } from '../authority/given.ts';
import { cli, emptyPlace, type Said } from '../cli/given.ts';
import type { Internet } from './internet/internet.ts';

export interface CaissonIn extends AsyncDisposable {
  readonly connection: ConnectionOptions;
  cli(...args: readonly string[]): Promise<Said>;
  /** Ends one of its processes as a crash would, and resolves when another is in its place. */
  crash(role: 'control' | 'gate'): Promise<void>;
}

/** A whole Caisson whose way out leads into the fake Internet. */
export async function caissonIn(net: Internet, network: NonNullable<Policy['network']> = {}): Promise<CaissonIn> {
  const place = emptyPlace();
  writeFileSync(`${place.dir}/policy.json`, JSON.stringify({ ...shippedPolicy, network }));
  const [program = '', ...args] = net.inHost(['./caisson', 'up', '--detach']);
  await promisify(execFile)(program, args, { env: place.env, timeout: 60_000 });
  const pidOf = async (role: string): Promise<number | undefined> => {
    using caller = new Caller(place.paths.supervisorSocket);
    const { processes } = (await caller.call('status', null)) as SupervisorStatus;
    return processes.find(({ name }) => name === role)?.pid;
  };
  return {
    connection: { socket: place.paths.apiSocket, reconnectMs: 20_000 },
    cli: (...words) => cli(place.env, words),
    async crash(role) {
      const before = await pidOf(role);
      if (before === undefined) throw new Error(`there is no ${role}`);
      process.kill(before, 'SIGKILL');
      while ((await pidOf(role)) === before || (await cli(place.env, ['status'])).status !== 0) await new Promise((resolve) => void setTimeout(resolve, 20));
    },
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

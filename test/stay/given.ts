import type { Level } from '@caisson/contract';
import { Sandbox, type ConnectionOptions } from '@caisson/sdk';
import type { Caisson } from '../harness.ts';
import { sharedInstance } from '../limits/given.ts';

type Options = NonNullable<Parameters<typeof Sandbox.create>[0]>;

export interface Ground {
  connection(): Promise<ConnectionOptions>;
  sandbox(options?: Options): Promise<Sandbox>;
  levels(): Promise<readonly Level[]>;
  caisson(): Promise<Caisson>;
}

/** One instance for the tests of a file, spoken to by the SDK. */
export function ground(): Ground {
  const caisson = sharedInstance();
  const connection = async (): Promise<ConnectionOptions> => ({ socket: (await caisson()).paths.apiSocket });
  return {
    caisson,
    connection,
    sandbox: async (options = {}) => Sandbox.create(options, { connection: await connection() }),
    levels: async () => (await caisson()).levels(),
  };
}

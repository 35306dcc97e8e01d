import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Internet } from './internet.ts';

const run = promisify(execFile);

/** One try to reach an address (contact.py). `hex` is what is sent. */
export interface Contact {
  readonly kind: 'tcp' | 'udp' | 'icmp' | 'raw' | 'frame';
  readonly address: string;
  readonly port?: number;
  readonly protocol?: number;
  readonly hex?: string;
}

export type Came = { readonly hex: string } | { readonly error: string };

/** What a program says that runs in `host`. @throws Error with its stderr when it fails */
export async function inside(net: Internet, argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const [program = '', ...args] = net.inHost(argv);
  return (await run(program, args, { env, timeout: 120_000 })).stdout;
}

/** Makes these contacts from `host`, one after another. */
export async function contact(net: Internet, contacts: readonly Contact[]): Promise<readonly Came[]> {
  const said = await inside(net, ['python3', `${import.meta.dirname}/contact.py`, ...contacts.map((each) => JSON.stringify(each))]);
  return said.trimEnd().split('\n').map((line) => JSON.parse(line) as Came);
}

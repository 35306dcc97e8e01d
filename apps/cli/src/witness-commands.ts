import { formatVerifierKey } from '@caisson/tlog';
import { initWitness, openRecords, readWitness, startWitness } from '@caisson/witness';
import { print } from './say.ts';

export async function init(name: string, { dir }: { readonly dir: string }): Promise<number> {
  print(`${await initWitness(name, dir)}\n`);
  return 0;
}

export async function key({ config }: { readonly config: string }): Promise<number> {
  print(`${formatVerifierKey((await readWitness(config)).signer.publicKey)}\n`);
  return 0;
}

/** Serves until SIGTERM or SIGINT. The first line of the output is where. */
export async function serve({ config }: { readonly config: string }): Promise<number> {
  const { signer, logs, listen, stateFolder } = await readWitness(config);
  const told = new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => done());
  });
  await using running = await startWitness({ signer, logs, listen, records: openRecords(stateFolder), now: Date.now });
  print(`${running.url}\n`);
  await told;
  return 0;
}

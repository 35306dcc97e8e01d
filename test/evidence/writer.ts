import { writeSync } from 'node:fs';
import { openFileLog } from '@caisson/evidence';

/** Appends to the log in argv[2] until it is killed, eight at a time, and prints each receipt once it has it. */
const log = await openFileLog({ dir: process.argv[2] as string, now: Date.now });
const run = (await log.head())?.index ?? -1;

async function append(lane: number): Promise<never> {
  for (let call = 0; ; call++) {
    const subject = `sbx-${run}-${lane}-${call}`;
    for (const kind of ['intent', 'outcome'] as const) {
      const { index, hash } = await log.append({ kind, source: 'control', subject, body: { pad: 'x'.repeat(call % 300) } });
      writeSync(1, `${index} ${hash}\n`);
    }
  }
}

await Promise.all(Array.from({ length: 8 }, (_, lane) => append(lane)));

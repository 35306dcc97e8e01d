/** An archiver in a process of its own, to be killed: follow.ts LOG-DIR ENDPOINT PREFIX. Says `open`, and `current SIZE` when it is. */
import { Archiver, fetchFromDirectory } from '@caisson/archive';
import { openS3 } from './given.ts';

const [, , dir = '', endpoint = '', prefix = ''] = process.argv;
const archiver = await Archiver.open({
  store: await openS3(endpoint, { prefix }),
  local: fetchFromDirectory(dir),
  dir: `${dir}/archive`,
  everyMs: 50,
  nowMs: Date.now,
  random: Math.random,
  onState: (state) => process.stdout.write(`${state} ${archiver.status.storedEntries}\n`),
});
process.stdout.write('open\n');
process.stdin.resume();
process.stdin.once('end', () => void archiver[Symbol.asyncDispose]());

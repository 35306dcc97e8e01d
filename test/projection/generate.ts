import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, type Json } from '@caisson/contract';
import { replayFixture } from './fixture.ts';
import { madeLog } from './given.ts';

/** Writes the log of the determinism gate and what is expected of it: node test/projection/generate.ts. A change of either is a change of what a state is. */
const folder = join(import.meta.dirname, 'fixtures');
const lines = madeLog('caisson-fixture-1', 500).map((entry) => `${canonicalJson(entry as unknown as Json)}\n`).join('');
writeFileSync(join(folder, 'log.jsonl'), lines);
const { hash, entries, halfway, bad } = replayFixture(folder);
if (bad.length > 0) throw new Error(`the log has bad pointers: ${JSON.stringify(bad)}`);
writeFileSync(join(folder, 'expected.json'), `${JSON.stringify({ entries, log: createHash('sha256').update(lines).digest('hex'), halfway, hash }, null, 2)}\n`);

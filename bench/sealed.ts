import type { Secret } from '@caisson/contract';
import { openFileLog } from '@caisson/evidence';
import { BY_DAY, fileWrap, openKeyring, sealDrafts } from '@caisson/sealing';
import { measureOneByOne, measureRate } from './evidence.ts';

/** What a run seals beside its intent. */
const SECRET: Secret = {
  tenant: 'operator',
  value: { salt: 'f'.repeat(64), request: { argv: ['python3', '-c', 'print(sum(range(10)))'], cwd: '/workspace', env: { API_URL: 'https://api.example.test/v1', TOKEN: 'x'.repeat(40) } } },
  alike: [['python3', '-c', 'print(sum(range(10)))'], { API_URL: 'https://api.example.test/v1', TOKEN: 'x'.repeat(40) }, '/workspace'],
};

/** Measures durable appends as `benchEvidence` does, each with a payload that is sealed as the scribe seals it. */
export async function benchSealed({ dir }: { readonly dir: string }): Promise<{ readonly samples: number[]; readonly appendsPerSecond: number }> {
  using ring = await openKeyring(`${dir}/ring`, { wrap: await fileWrap(`${dir}/wrap`), now: Date.now });
  await using log = await openFileLog({ dir: `${dir}/evidence`, now: Date.now, seal: sealDrafts(ring, { nowMs: Date.now, rule: BY_DAY }) });
  return { samples: await measureOneByOne(log, SECRET), appendsPerSecond: await measureRate(log, SECRET) };
}

import { writeSync } from 'node:fs';
import { openKeyring, wrapByKey } from '@caisson/sealing';

/**
 * Seals in the ring of argv[2] until it is killed, each time by a key that is new, and prints what it sealed. With a number
 * as argv[3] it seals once, for the tenant `acme`, and ends.
 */
const [, , dir = '', once] = process.argv;
using ring = await openKeyring(dir, { wrap: wrapByKey('file', Buffer.alloc(32, 7)), now: Date.now });
const about = { kind: 'intent', source: 'control', subject: 'sbx-1' } as const;
for (let count = 0; once === undefined || count < 1; count += 1) {
  const tenant = once === undefined ? `${process.pid}-${count}` : 'acme';
  writeSync(1, `${JSON.stringify(await ring.seal(count, { tenant, segment: 0, about }))}\n`);
}

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const SETTLE_MS = 2_000;

/** Memory of the host that nothing holds: caches are dropped first, because what is read or ended meanwhile changes them. */
export async function freeBytes(): Promise<number> {
  await promisify(execFile)('sync');
  await writeFile('/proc/sys/vm/drop_caches', '3').catch(() => undefined); // root's alone
  await delay(SETTLE_MS);
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

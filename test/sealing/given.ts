import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openKeyring, wrapByKey, type About, type Keyring, type KeyringOptions } from '@caisson/sealing';

export const ABOUT: About = { kind: 'intent', source: 'control', subject: 'sbx-1' };
const WRAP = wrapByKey('file', Buffer.alloc(32, 7));

/** An empty folder that goes away with the test. */
export function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'caisson-sealing-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function freshKey(): KeyObject {
  return createSecretKey(randomBytes(32));
}

export function ringIn(dir: string, options: Partial<KeyringOptions> = {}): Promise<Keyring> {
  return openKeyring(`${dir}/ring`, { wrap: WRAP, now: () => 1_700_000_000_000, ...options });
}

import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { listenUnix, type Listening } from '@caisson/wire';

/** A path for a socket, in a directory that goes away with the test. */
export function socketPath(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'caisson-wire-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'a.sock');
}

/** A listener that goes away with the test. */
export async function listen(t: TestContext, path: string, onConnection: (socket: Socket) => void): Promise<Listening> {
  const listening = await listenUnix(path, {}, onConnection);
  t.after(() => listening[Symbol.asyncDispose]());
  return listening;
}

/** Rejects when the promise takes longer than two seconds. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = delay(2_000, undefined, { ref: false }).then(() => Promise.reject(new Error(`${what} hangs`)));
  return Promise.race([promise, late]);
}

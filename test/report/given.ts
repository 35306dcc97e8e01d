import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { makeReport } from '@caisson/cli';
import type { Entry } from '@caisson/contract';
import { openFileLog, publishedKeys, folderFetch, verifyLog } from '@caisson/evidence';
import { HOME } from '../harness.ts';
import { madeLog, writing, type Writing } from '../projection/given.ts';

const START_MS = 1_700_000_000_000;
/** Milliseconds from one entry of a log to the next. */
const STEP_MS = 5;

/** A log as the scribe writes it, closed, with these subjects and bodies; entry n is of START_MS + STEP_MS * n. */
export async function written(dir: string, entries: readonly Entry[]): Promise<void> {
  let timeMs = START_MS - STEP_MS;
  await using log = await openFileLog({ dir, now: () => (timeMs += STEP_MS) });
  for (const { kind, source, subject, body, origin } of entries) await log.append({ kind, source, subject, body, ...(origin !== undefined && { origin }) });
}

/** A log that does a bit of everything, whose pointers hold. */
export const busyLog = (length: number): readonly Entry[] => madeLog('report', length);

export const timeOf = (index: number): string => new Date(START_MS + STEP_MS * index).toISOString();

export type Report = Awaited<ReturnType<typeof makeReport>>;

/** The report of entries that need no log on disk: every one is taken for good. */
export async function reportOn(entries: readonly Entry[], filter: Parameters<typeof makeReport>[1] = {}): Promise<Report> {
  return makeReport({
    keys: [],
    verify: async ({ visit }) => {
      for (const entry of entries) visit?.(entry, Buffer.alloc(32));
      return { ...GOOD, entries: entries.length };
    },
  }, filter);
}

const GOOD: Awaited<ReturnType<typeof verifyLog>> = { keys: [], origin: 'caisson.local/test', entries: 0, published: 0, head: null, openIntents: [], bad: null, findings: [], findingsCount: 0, unread: { count: 0, first: null }, unfinishedBytes: 0, knownHead: 'not given' };

export const made = (): Writing => writing();

/** The report of the log in a folder. */
export async function reportIn(dir: string, filter: Parameters<typeof makeReport>[1] = {}): Promise<Report> {
  return makeReport({ keys: await publishedKeys(folderFetch(dir)), verify: (options) => verifyLog(dir, options) }, filter);
}

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function audit(...args: readonly string[]): Promise<Ran> {
  const child = spawn(join(HOME, 'caisson'), ['audit', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CAISSON_DIR: '/nonexistent/caisson' } });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit') as Promise<[number | null]>]);
  return { status, stdout, stderr };
}

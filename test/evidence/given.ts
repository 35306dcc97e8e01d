import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { statePaths, type CaissonError, type EntryDraft, type EntryKind, type Json, type Receipt, type StatePaths } from '@caisson/contract';
import { openFileLog, type Disk } from '@caisson/evidence';

/** An empty directory that goes away with the test. */
export function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'caisson-evidence-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The paths of an instance of its own, all in a directory that goes away with the test. */
export function tempPaths(t: TestContext): StatePaths {
  const dir = tempDir(t);
  return statePaths({ env: { CAISSON_DIR: join(dir, 'state'), XDG_RUNTIME_DIR: dir }, uid: 1, resolve: (path) => path });
}

export function draft(kind: EntryKind, subject: string, body: Json = { command: ['true'] }): EntryDraft {
  return { kind, source: 'control', subject, body };
}

const DIGEST = '0'.repeat(64);

/** An intent as control reports it. */
export function intentOf(subject: string): EntryDraft {
  const decision = { effect: 'allow', rule: 'default', reason: '' };
  return draft('intent', subject, { caller: 'operator', program: 'true', request: DIGEST, decision, level: 'container', policy: DIGEST, network: null, secrets: [] });
}

export function outcomeOf(subject: string): EntryDraft {
  return draft('outcome', subject, { ending: { kind: 'exited', code: 0 }, exit: 0 });
}

/** A draft that a scribe takes: its body is one of its kind. */
export function fitting(kind: 'intent' | 'outcome' | 'lifecycle', subject: string, more: { readonly [name: string]: Json } = {}): EntryDraft {
  const made = kind === 'intent' ? intentOf(subject) : kind === 'outcome' ? outcomeOf(subject) : draft('lifecycle', subject, { event: 'pause', caller: 'operator' });
  return { ...made, body: { ...(made.body as object), ...more } };
}

/** The file itself, whose syncs fail with a code for as long as one is given. */
export function diskFailing(file: FileHandle, codeNow: () => string | null): Disk {
  return {
    write: async (bytes, position) => (await file.write(bytes, 0, bytes.length, position)).bytesWritten,
    sync: async () => {
      const code = codeNow();
      if (code !== null) throw Object.assign(new Error(`${code}: simulated`), { code });
      await file.datasync();
    },
    truncate: async (bytes) => file.truncate(bytes),
  };
}

/** The file itself, and nobody waits for it: how long appends take is then no matter of the disk. */
export function diskUnsynced(file: FileHandle): Disk {
  return { ...diskFailing(file, () => null), sync: async () => undefined };
}

/** A clock that starts at a fixed time and gives one millisecond more each time. */
export function ticking(): () => number {
  let timeMs = 1_700_000_000_000;
  return () => timeMs++;
}

/** A closed log of `calls` intents, each followed by its outcome; resolves to its head. */
export async function writeCalls(dir: string, calls: number, now: () => number = ticking()): Promise<Receipt> {
  await using log = await openFileLog({ dir, now });
  let head: Receipt = { index: -1, hash: '' };
  for (let call = 0; call < calls; call++) {
    await log.append(draft('intent', `sbx-${call}`));
    head = await log.append(draft('outcome', `sbx-${call}`, { exit: call }));
  }
  return head;
}

/** Takes away all but the journal, as a thief who does not know it: all that the log has is there then. */
export function unpublish(dir: string): void {
  for (const name of ['checkpoint', 'tile', 'ledger']) rmSync(join(dir, name), { recursive: true, force: true });
}

export const logPath = (dir: string): string => join(dir, 'journal-0');
/** An entry and the checkpoint after it, by turns, where appends came one after another. */
export const logLines = (dir: string): string[] => readFileSync(logPath(dir), 'utf8').split('\n').slice(0, -1);
export const putLines = (dir: string, lines: readonly string[]): void => writeFileSync(logPath(dir), lines.map((line) => `${line}\n`).join(''));

/** For assert.rejects: a CaissonError of this code whose message matches. */
export function problem(code: CaissonError['code'], message: RegExp = /./): (error: unknown) => boolean {
  return (error) => (error as CaissonError).code === code && message.test((error as CaissonError).message);
}

import { setTimeout as sleep } from 'node:timers/promises';
import { CaissonError, type RecordedSegment } from '@caisson/contract';
import { readEntries } from '@caisson/evidence';
import type { Process, Sandbox } from '@caisson/sdk';
import { openApi } from './api.ts';
import { instancePaths } from './client.ts';
import { write } from './exec-output.ts';
import { asciicast, records, verifyRecording } from './recording.ts';
import type { Json } from './sandbox-commands.ts';
import { print, printJson } from './say.ts';
import { AFTERWARDS, showOnly } from './show-only.ts';

export interface RecordingFlags extends Json {
  readonly replay?: boolean;
  /** Times as fast as it was. Default 1. */
  readonly speed?: string;
  /** Longest pause, in seconds. Default: as long as it was. */
  readonly idleLimit?: string;
  readonly asciicast?: boolean;
  readonly raw?: boolean;
  readonly verify?: boolean;
}

/** Whether the flags ask for the recording, and not for the output alone. */
export function asksForRecording(flags: RecordingFlags): boolean {
  return flags.replay === true || flags.asciicast === true || flags.raw === true || flags.verify === true;
}

/** The exec of this id, or the only one of the sandbox. @throws CaissonError USAGE, EXEC_NOT_FOUND */
export async function execOf(box: Sandbox, execId: string | undefined): Promise<Process> {
  if (execId !== undefined) return box.attach(execId);
  const [only, ...more] = await box.execs();
  if (only === undefined) throw new CaissonError('EXEC_NOT_FOUND', { sandbox: box.id, exec: 'at all' });
  if (more.length > 0) throw new CaissonError('USAGE', { detail: `${[only, ...more].map(({ id }) => id).join(', ')}: name one` });
  return box.attach(only.id);
}

/** Replays, exports or checks the recording of an exec; of one that runs, what there is so far. */
export async function recording(id: string, execId: string | undefined, flags: RecordingFlags): Promise<number> {
  const pace = { speed: factor('--speed', flags.speed, 1), idleMs: 1_000 * factor('--idle-limit', flags.idleLimit, Infinity) };
  const found = await execOf(await (await openApi()).box(id), execId);
  if (flags.verify === true) return verify(found, flags);
  const chunks = await found.recording();
  if (flags.raw === true) for await (const bytes of chunks) await write('stdout', bytes);
  else if (flags.asciicast === true) for await (const text of asciicast(chunks)) await write('stdout', Buffer.from(text));
  else await replayed(chunks, pace);
  return 0;
}

/** Shows what was written when it was written. A terminal gets only what shows; anything else gets the bytes as they were. */
async function replayed(chunks: AsyncIterable<Uint8Array>, { speed, idleMs }: { readonly speed: number; readonly idleMs: number }): Promise<void> {
  const clean = { stdout: process.stdout.isTTY ? showOnly() : null, stderr: process.stderr.isTTY ? showOnly() : null };
  let lastMs = 0;
  try {
    for await (const piece of records(chunks)) {
      if ('header' in piece || piece.record.kind === 'resize') continue;
      const { kind, atMs, bytes } = piece.record;
      const waitMs = Math.min(atMs - lastMs, idleMs) / speed;
      lastMs = atMs;
      if (waitMs >= 1) await sleep(waitMs);
      await write(kind, clean[kind]?.(bytes) ?? bytes);
    }
  } finally {
    if (process.stdout.isTTY) await write('stdout', Buffer.from(AFTERWARDS));
  }
}

function factor(flag: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  const value = /^\d{1,6}(?:\.\d{1,3})?$/.test(given) ? Number(given) : 0;
  if (value <= 0) throw new CaissonError('USAGE', { detail: `${flag} ${given} is not a number above 0` });
  return value;
}

/** @returns the exit status: 0 as the log has it, 1 not so */
async function verify(found: Process, { json }: Json): Promise<number> {
  const segments = await onRecord(found.id);
  if (segments === null) throw new CaissonError('USAGE', { detail: `${found.id}: the log has no digests of its recording; it has them once the exec has ended` });
  const { good, bad } = await verifyRecording(await found.recording(), segments);
  if (json === true) printJson({ exec: found.id, segments: segments.length, good, bad, verdict: bad === null ? 'good' : 'bad' });
  else print(bad === null ? `good: ${good} segments are as the log has them\n` : `BAD: segment ${bad.segment} of ${segments.length}: ${bad.reason}\n`);
  return bad === null ? 0 : 1;
}

/** What the log of this instance has of a recording; null: nothing. The log itself is for audit verify to check. */
async function onRecord(exec: string): Promise<readonly RecordedSegment[] | null> {
  for await (const { entry } of readEntries(instancePaths().evidence)) {
    if (entry.kind !== 'outcome' || entry.subject !== exec) continue;
    return ((entry.body as { readonly recording?: readonly RecordedSegment[] } | null)?.recording) ?? null;
  }
  return null;
}

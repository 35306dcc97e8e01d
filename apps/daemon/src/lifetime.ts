import { problemOf, type Problem } from '@caisson/contract';

/** How often a process says in the log what it has reported: the longest that a missing entry goes unnoticed. */
export const HEARTBEAT_MS = 60_000;

/** What a process tells the supervisor that started it. */
export type Word = { readonly ready: true } | { readonly problem: Problem };

/**
 * Runs one of Caisson's processes: opens it, says that it is ready, and closes it when the supervisor asks by SIGTERM
 * or is gone. A process that cannot open says why and ends with 1.
 */
export async function live(open: () => Promise<AsyncDisposable>, { orphanedMs = 0 }: { readonly orphanedMs?: number } = {}): Promise<void> {
  const stop = Promise.withResolvers<void>();
  process.once('SIGTERM', () => stop.resolve());
  process.once('SIGINT', () => undefined); // a terminal's Ctrl-C goes to the supervisor, which then asks
  process.once('disconnect', () => setTimeout(stop.resolve, orphanedMs));
  try {
    const opened = await open();
    say({ ready: true });
    await stop.promise;
    await opened[Symbol.asyncDispose]();
  } catch (error) {
    say({ problem: problemOf(error) });
    log('failed', { message: problemOf(error).message });
    process.exitCode = 1;
  } finally {
    if (process.connected) process.disconnect();
  }
  process.exit();
}

function say(word: Word): void {
  if (process.connected) process.send?.(word);
}

/** Gives up root for good. Everything that must be read as root has been read. `groups`: of which it is a member besides its own. */
export function dropTo(ids: { readonly uid: number; readonly gid: number }, groups: readonly number[] = []): void {
  if (process.getuid?.() !== 0) return;
  process.setgroups?.([...groups]);
  process.setgid?.(ids.gid);
  process.setuid?.(ids.uid);
}

/** One line of JSON on stderr, which the supervisor keeps in the log. */
export function log(event: string, fields: Readonly<Record<string, string | number>> = {}): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), process: process.argv[2], event, ...fields })}\n`);
}

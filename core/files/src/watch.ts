import type { Connection } from './connection.ts';
import { REQUEST, violation, type RequestFields } from './frames.ts';
import { absolutePath, joined, told, type FilePath } from './paths.ts';
import { ItemStream, ReplyStream } from './stream.ts';
import { flags } from './verbs.ts';

/**
 * `overflow`: something at or below the path may have changed without having been told; look for yourself. One that comes
 * before all else says that some directories below are not watched from the start, because the agent may not read them or
 * they lie more than 95 levels down: nothing below them is told. One that may be read later on is watched from then on.
 * `ended`: the watched directory itself is gone.
 */
export type FileEventKind = 'created' | 'changed' | 'removed' | 'overflow' | 'ended';

export interface FileEvent {
  readonly kind: FileEventKind;
  readonly path: string;
  readonly pathBase64?: string;
}

export interface WatchOptions {
  /** Also what is below the directories in it, at most 2,048 of them: more is told as an overflow. Default: false. */
  readonly recursive?: boolean;
  /** Ends the watch; the iteration then ends without an error. */
  readonly signal?: AbortSignal;
}

const KINDS: Readonly<Record<number, FileEventKind>> = { 1: 'created', 2: 'changed', 3: 'removed', 4: 'overflow', 5: 'ended' };
const FIXED_BYTES = 8;

/**
 * Nothing is missed without an overflow that a request changes which is made after this call: the helper takes requests in
 * their order.
 */
export function watchFiles(connection: Connection, path: FilePath, { recursive, signal }: WatchOptions): ItemStream<FileEvent> {
  const bytes = absolutePath(path);
  const opened = open(connection, { path: bytes, flags: flags({ recursive }) }, signal);
  opened.catch(() => undefined); // told by the first event that is asked for
  return new ItemStream(() => opened, (payload) => decodeEvents(payload, bytes));
}

async function open(connection: Connection, fields: RequestFields, signal: AbortSignal | undefined): Promise<ReplyStream> {
  const replies = await ReplyStream.open(connection, REQUEST.watch, fields);
  const leave = (): void => replies.leave();
  if (signal?.aborted === true) leave();
  else signal?.addEventListener('abort', leave, { once: true });
  return replies;
}

/** @throws CaissonError FRAME_INVALID */
function* decodeEvents(payload: Buffer, folder: Buffer): Generator<FileEvent> {
  for (let at = 0; at < payload.length; ) {
    if (payload.length - at < FIXED_BYTES) throw violation('an event that is cut off');
    const kind = KINDS[payload.readUInt32LE(at)];
    const end = at + FIXED_BYTES + payload.readUInt32LE(at + 4);
    if (kind === undefined || end > payload.length) throw violation('an event of no kind');
    yield { kind, ...told(joined(folder, payload.subarray(at + FIXED_BYTES, end))) };
    at = end;
  }
}

import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import {
  CaissonError, CLIENT_STDIN_WINDOW, problemOf, RunRequest, type ControlStatus, type FromControl, type ToControl,
} from '@caisson/contract';
import { open, type Rooms } from '@caisson/sandbox';
import { Channel } from '@caisson/wire';
import { StdinQueue } from './stdin-queue.ts';

const ToControl: z.ZodType<ToControl> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('run'), request: RunRequest }),
  z.strictObject({ type: z.literal('status') }),
]);

/** Serves one client connection: at most one run, which is cancelled when the client goes away or Caisson stops. */
export function serveClient(socket: Socket, rooms: Rooms, calls: Map<string, Promise<void>>, stopping: AbortSignal): void {
  const gone = new AbortController();
  const stdin = new StdinQueue(CLIENT_STDIN_WINDOW, (bytes) => send({ type: 'stdin-taken', bytes }));
  const key = crypto.randomUUID();
  const channel: Channel = new Channel(socket, {
    onMessage: (message) => {
      if (calls.has(key)) throw new CaissonError('FRAME_INVALID', { detail: 'a second request on one connection' });
      calls.set(key, perform(message).finally(() => calls.delete(key)));
    },
    onBytes: (kind, _stream, bytes) => {
      if (kind !== 'stdin') throw new CaissonError('FRAME_INVALID', { detail: 'bytes that are not stdin' });
      stdin.push(bytes);
    },
    onClose: () => {
      gone.abort(new CaissonError('CANCELLED', { detail: 'the caller went away' }));
      stdin.push(Buffer.alloc(0));
    },
  });
  const send = (message: FromControl): void => channel.send(message);

  async function perform(message: unknown): Promise<void> {
    try {
      send(await answerTo(parse(message)));
    } catch (error) {
      send({ type: 'problem', problem: problemOf(error) });
    }
    channel.end();
  }

  async function answerTo(message: ToControl): Promise<FromControl> {
    switch (message.type) {
      case 'run': return { type: 'result', result: await run(message.request) };
      case 'status': return { type: 'status', status: await status() };
    }
  }

  function run(request: RunRequest): ReturnType<typeof open> {
    const client = {
      name: 'operator',
      signal: AbortSignal.any([gone.signal, stopping]),
      stdin: stdin.chunks(),
      write: async (stream: 'stdout' | 'stderr', bytes: Buffer) => channel.sendBytes(stream, 1, bytes),
    };
    return open(request, client, rooms);
  }

  function status(): Promise<ControlStatus> {
    return controlStatus(rooms, [...calls.keys()].filter((other) => other !== key));
  }
}

/** An alert that nothing clears is shown for a week. */
const ALERTS_SHOWN_MS = 7 * 24 * 3_600_000;

export async function controlStatus(rooms: Rooms, calls: readonly string[]): Promise<ControlStatus> {
  const [head, alerts = []] = await Promise.all([
    Promise.race([rooms.evidence.head().catch(() => null), delay(2_000, null, { ref: false })]), // a log that is not open has no head, and an alert that says why
    Promise.race([rooms.evidence.alerts?.().catch(() => undefined), delay(2_000, undefined, { ref: false })]),
  ]);
  return { host: await rooms.host({ again: true }), policySha256: rooms.policy.sha256, evidenceHead: head, alerts: alerts.filter(({ timeMs }) => rooms.wallMs() - timeMs < ALERTS_SHOWN_MS), calls };
}

/** @throws CaissonError REQUEST_INVALID naming the field. */
function parse(message: unknown): ToControl {
  const parsed = ToControl.safeParse(message);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = (issue?.path ?? []).filter((part) => part !== 'request').join('.');
  const what = issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message;
  throw new CaissonError('REQUEST_INVALID', { detail: `${field === '' ? 'request' : field}: ${what ?? 'malformed'}` });
}

import { Readable } from 'node:stream';
import type { ExecEvent, ExecInfo } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { CaissonError, problemOf } from '@caisson/contract';
import { z } from 'zod';
import { sendBytes } from './bytes.ts';
import { eventText, sendEvents, whenLeft } from './events.ts';
import { given, part, route, type Call, type Route } from './route.ts';
import { together } from './together.ts';
import { uploaded } from './upload.ts';

const ALL = '/v1/sandboxes/{sandbox}/execs';
const ONE = `${ALL}/{exec}`;
/** How long the start of a command waits for its end. */
const TOGETHER_MS = 5;
const FOLLOWED = { output: wire.OutputEvent, end: wire.ExecInfo, problem: wire.Problem, drain: z.strictObject({}) };

export const EXEC_ROUTES: readonly Route[] = [
  route({
    method: 'POST', path: ALL, title: 'Starts a command; with Accept: text/event-stream follows it in the same request', right: 'exec',
    body: wire.ExecRequest, keyed: true,
    answers: [{ status: 201, schema: wire.ExecInfo }, { status: 200, type: 'text/event-stream', events: { started: wire.ExecInfo, ...FOLLOWED } }],
    async handle(call) {
      const start = (follows: boolean): Promise<ExecInfo> => call.rooms.sandboxes.exec(part(call, 'sandbox'), call.body, { ...call.asking, follows });
      if (!wantsEvents(call)) return start(false);
      return sendEvents(call, async (signal) => {
        const exec = await start(true);
        const takesInput = call.body.stdin === true || exec.tty;
        return startedAndFollowed(call, exec, takesInput ? 0 : TOGETHER_MS, signal);
      }, { headWaits: true });
    },
  }),
  route({
    method: 'GET', path: ALL, title: 'Lists the execs of a sandbox', right: 'exec',
    answers: [{ status: 200, schema: z.strictObject({ execs: z.array(wire.ExecInfo) }) }],
    handle: (call) => ({ execs: call.rooms.sandboxes.execs(part(call, 'sandbox')) }),
  }),
  route({
    method: 'GET', path: ONE, title: 'Reads an exec; with waitMs once it has ended, or after that time as it is then', right: 'exec',
    query: wire.WaitQuery, answers: [{ status: 200, schema: wire.ExecInfo }], handle: wait,
  }),
  route({
    method: 'GET', path: `${ONE}/output`, title: 'Follows the output of an exec from an offset on, each byte once', right: 'exec',
    query: wire.FollowQuery, answers: [{ status: 200, type: 'text/event-stream', events: FOLLOWED }],
    handle(call) {
      const from = lastSeen(call) ?? call.query.from ?? 0;
      return sendEvents(call, (signal) => followed(call, part(call, 'exec'), from, signal));
    },
  }),
  route({
    method: 'GET', path: `${ONE}/recording`, title: 'Reads what an exec has written so far, with times, as docs/recording.md says', right: 'exec',
    answers: [{ status: 200, type: 'application/octet-stream' }], handle: recording,
  }),
  route({
    method: 'PUT', path: `${ONE}/stdin`, title: 'Writes to the stdin of an exec; bytes at an offset taken before are dropped', right: 'exec',
    query: wire.StdinQuery, bytes: 'application/octet-stream', answers: [{ status: 200, schema: z.strictObject({ taken: z.int() }) }], handle: writeStdin,
  }),
  route({
    method: 'POST', path: `${ONE}/signal`, title: 'Sends a signal to the process group of an exec', right: 'exec', body: wire.Signal, answers: [{ status: 204 }],
    handle: (call) => call.rooms.sandboxes.signal(part(call, 'sandbox'), part(call, 'exec'), wire.signalNumber(call.body.signal)),
  }),
  route({
    method: 'POST', path: `${ONE}/resize`, title: 'Gives the terminal of an exec another size', right: 'exec', body: wire.Resize, answers: [{ status: 204 }],
    handle: (call) => call.rooms.sandboxes.resize(part(call, 'sandbox'), part(call, 'exec'), call.body),
  }),
];

function wantsEvents({ headers }: Pick<Call, 'headers'>): boolean {
  return headers.accept?.includes('text/event-stream') ?? false;
}

function startedAndFollowed(call: Call, exec: ExecInfo, mostMs: number, signal: AbortSignal): AsyncGenerator<string> {
  return together(eventText('started', exec), followed(call, exec.id, 0, signal), mostMs);
}

async function* followed({ rooms, params }: Call, exec: string, from: number, signal: AbortSignal): AsyncGenerator<string> {
  for await (const event of rooms.sandboxes.follow(params['sandbox'] ?? '', exec, { from, signal })) yield followedText(event);
}

/** Written by hand: this is the path that every byte of output takes, and base64 needs no escaping. */
function followedText(event: ExecEvent): string {
  if (event.type === 'end') return eventText('end', event.exec);
  const bytes = Buffer.from(event.bytes.buffer, event.bytes.byteOffset, event.bytes.byteLength);
  return `id: ${event.offset + bytes.length}\nevent: output\ndata: {"stream":"${event.stream}","offset":${event.offset},"data":"${bytes.toString('base64')}"}\n\n`;
}

/** Where an EventSource that lost its connection goes on. */
function lastSeen({ headers }: Pick<Call, 'headers'>): number | undefined {
  const id = headers['last-event-id'];
  if (id === undefined) return undefined;
  if (typeof id === 'string' && /^\d{1,15}$/.test(id)) return Number(id);
  throw new CaissonError('REQUEST_INVALID', { detail: 'Last-Event-ID: must be the id of an event of this stream' });
}

async function wait(call: Call<z.output<typeof wire.WaitQuery>>): Promise<ExecInfo> {
  const sandbox = part(call, 'sandbox');
  const exec = part(call, 'exec');
  const now = call.rooms.sandboxes.execInfo(sandbox, exec);
  if (call.query.waitMs === undefined || now.state === 'ended') return now;
  using stream = call.streams.open(call.caller);
  const expiry = setTimeout(() => stream.end(new CaissonError('CANCELLED', { detail: 'the time is up' })), call.query.waitMs);
  whenLeft(call.reply.raw, () => stream.end(new CaissonError('CANCELLED', { detail: 'the caller went away' })));
  try {
    return await call.rooms.sandboxes.wait(sandbox, exec, { signal: stream.signal });
  } catch (error) {
    if (!stream.signal.aborted || problemOf(error).code === 'TOKEN_INVALID') throw error;
    return call.rooms.sandboxes.execInfo(sandbox, exec);
  } finally {
    clearTimeout(expiry);
  }
}

async function recording(call: Call): Promise<void> {
  const over = new AbortController();
  whenLeft(call.reply.raw, () => over.abort());
  const chunks = call.rooms.sandboxes.recording(part(call, 'sandbox'), part(call, 'exec'), { signal: over.signal })[Symbol.asyncIterator]();
  const first = await chunks.next(); // what is not there is a problem, and not a body that breaks off
  await sendBytes(call, Readable.from(withFirst(first, chunks)), { status: 200, type: 'application/octet-stream' });
}

async function* withFirst(first: IteratorResult<Buffer, unknown>, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  for (let next = first; next.done !== true; next = await rest.next()) yield next.value;
}

async function writeStdin(call: Call<z.output<typeof wire.StdinQuery>>): Promise<{ readonly taken: number }> {
  const { sandboxes } = call.rooms;
  const [sandbox, exec] = [part(call, 'sandbox'), part(call, 'exec')];
  let { offset } = call.query;
  let taken: number | undefined;
  for await (const bytes of uploaded(call)) {
    taken = await sandboxes.stdin(sandbox, exec, bytes, given({ offset }));
    if (offset !== undefined) offset += bytes.length;
  }
  taken ??= await sandboxes.stdin(sandbox, exec, Buffer.alloc(0), {});
  if (call.query.end === true) await sandboxes.endStdin(sandbox, exec);
  return { taken };
}

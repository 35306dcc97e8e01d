import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, CreateRequest, isOver, NetworkRequest, type SandboxInfo } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { eventText, sendEvents } from './events.ts';
import { part, route, type Route } from './route.ts';

const PAGE_DEFAULT = 100;
/** How soon a change of a sandbox is told. */
const LOOK_MS = 200;
const ONE = '/v1/sandboxes/{sandbox}';
const NetworkAnswer = { status: 200, schema: wire.NetworkInfo } as const;
const InfoAnswer = { status: 200, schema: wire.SandboxInfo } as const;

export const SANDBOX_ROUTES: readonly Route[] = [
  route({
    method: 'POST', path: '/v1/sandboxes', title: 'Creates a sandbox', right: 'sandboxes:write', body: CreateRequest, keyed: true,
    answers: [{ status: 201, schema: wire.SandboxInfo }],
    handle: ({ rooms, body, asking }) => rooms.sandboxes.create(body, asking),
  }),
  route({
    method: 'GET', path: '/v1/sandboxes', title: 'Lists sandboxes, newest first', right: 'sandboxes:read', query: wire.ListQuery,
    answers: [{ status: 200, schema: z.strictObject({ sandboxes: z.array(wire.SandboxInfo), next: z.string().nullable() }) }],
    handle: ({ rooms, query }) => page(rooms.sandboxes.list(), query),
  }),
  route({
    method: 'GET', path: ONE, title: 'Reads a sandbox, by its id or its name', right: 'sandboxes:read', answers: [InfoAnswer],
    handle: (call) => call.rooms.sandboxes.get(part(call, 'sandbox')),
  }),
  route({
    method: 'PATCH', path: ONE, title: 'Gives a sandbox more or less time', right: 'sandboxes:write', records: 'renew', body: wire.Renewal, answers: [InfoAnswer],
    handle: (call) => call.rooms.sandboxes.renew(part(call, 'sandbox'), call.body),
  }),
  route({
    method: 'DELETE', path: ONE, title: 'Closes a sandbox: every process of it ends', right: 'sandboxes:write', answers: [InfoAnswer],
    handle: (call) => call.rooms.sandboxes.close(part(call, 'sandbox'), call.asking),
  }),
  route({
    method: 'POST', path: `${ONE}/pause`, title: 'Freezes every process of a sandbox', right: 'sandboxes:write', body: wire.Nothing, answers: [InfoAnswer],
    handle: (call) => call.rooms.sandboxes.pause(part(call, 'sandbox'), call.asking),
  }),
  route({
    method: 'POST', path: `${ONE}/resume`, title: 'Lets a paused sandbox go on', right: 'sandboxes:write', body: wire.Nothing, answers: [InfoAnswer],
    handle: (call) => call.rooms.sandboxes.resume(part(call, 'sandbox'), call.asking),
  }),
  route({
    method: 'GET', path: `${ONE}/usage`, title: 'Measures what a sandbox uses now', right: 'sandboxes:read', answers: [{ status: 200, schema: wire.LiveUsage }],
    handle: (call) => call.rooms.sandboxes.usage(part(call, 'sandbox')),
  }),
  route({
    method: 'GET', path: `${ONE}/network`, title: 'Tells what a sandbox may reach, and what it has done with that', right: 'sandboxes:read', answers: [NetworkAnswer],
    handle: (call) => call.rooms.sandboxes.networkState(part(call, 'sandbox')),
  }),
  route({
    method: 'PUT', path: `${ONE}/network`, title: 'Gives a sandbox with a network other rules, and cuts the connections that they do not allow', right: 'sandboxes:write',
    body: NetworkRequest, answers: [NetworkAnswer],
    handle: (call) => call.rooms.sandboxes.changeNetwork(part(call, 'sandbox'), call.body, call.asking),
  }),
  route({
    method: 'GET', path: `${ONE}/events`, title: 'Tells the state of a sandbox, now and on each change, until it has ended', right: 'sandboxes:read',
    answers: [{ status: 200, type: 'text/event-stream', events: { state: z.strictObject({ type: z.literal('state'), sandbox: wire.SandboxInfo }) } }],
    handle: (call) => sendEvents(call, (signal) => changesOf(() => call.rooms.sandboxes.get(part(call, 'sandbox')), signal)),
  }),
];

async function* changesOf(look: () => SandboxInfo, signal: AbortSignal): AsyncGenerator<string> {
  for (let before = ''; ; await delay(LOOK_MS, undefined, { signal })) {
    const sandbox = look();
    const text = eventText('state', { type: 'state', sandbox });
    if (text !== before) yield text;
    before = text;
    if (isOver(sandbox.state)) return;
  }
}

type Position = readonly [createdMs: number, id: string];

function page(all: readonly SandboxInfo[], { state, label, limit, cursor }: z.output<typeof wire.ListQuery>): { readonly sandboxes: readonly SandboxInfo[]; readonly next: string | null } {
  const labels = (typeof label === 'string' ? [label] : (label ?? [])).map((pair): [string, string] => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);
  const after = cursor === undefined ? null : readCursor(cursor);
  const wanted = all
    .filter((info) => state === undefined || info.state === state)
    .filter((info) => labels.every(([name, value]) => Object.hasOwn(info.labels, name) && info.labels[name] === value))
    .toSorted((a, b) => compare(b, [a.createdMs, a.id]))
    .filter((info) => after === null || compare(info, after) < 0);
  const most = Math.max(1, limit ?? PAGE_DEFAULT);
  const sandboxes = wanted.slice(0, most);
  const last = sandboxes.at(-1);
  return { sandboxes, next: wanted.length > most && last !== undefined ? Buffer.from(JSON.stringify([last.createdMs, last.id])).toString('base64url') : null };
}

/** Negative when the sandbox is older than the position. */
function compare({ createdMs, id }: SandboxInfo, [atMs, atId]: Position): number {
  if (createdMs !== atMs) return createdMs - atMs;
  return id < atId ? -1 : Number(id > atId);
}

const Cursor = z.tuple([z.number(), z.string()]);

function readCursor(text: string): Position {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
  } catch {
    throw new CaissonError('REQUEST_INVALID', { detail: 'cursor: is not the next of an earlier answer' });
  }
}

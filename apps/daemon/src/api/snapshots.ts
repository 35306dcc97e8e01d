import { CaissonError, type SandboxInfo } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { sendBytes } from './bytes.ts';
import type { WorkspacesRoom } from './rooms.ts';
import { given, part, route, type Call, type Route } from './route.ts';

const CHANGES_DEFAULT = 10_000;

export const SnapshotInfo = z.strictObject({ id: z.string(), label: z.string().nullable(), createdMs: z.number(), sizeBytes: z.number(), memory: z.boolean() });
const Changed = z.strictObject({
  path: z.string(), pathBase64: z.base64().exactOptional(), kind: z.enum(['added', 'changed', 'removed']), type: z.string(), sizeBytes: z.int(), mode: z.int(),
});

export const SNAPSHOT_ROUTES: readonly Route[] = [
  route({
    method: 'POST', path: '/v1/sandboxes/{sandbox}/snapshots', title: 'Keeps the workspace of a sandbox as it is now', right: 'sandboxes:write', body: wire.NewSnapshot,
    keyed: true, answers: [{ status: 201, schema: SnapshotInfo }],
    handle: (call) => call.rooms.sandboxes.snapshot(part(call, 'sandbox'), given({ label: call.body.label, memory: call.body.memory }), call.asking),
  }),
  route({
    method: 'POST', path: '/v1/sandboxes/{sandbox}/fork', title: 'Creates a sandbox whose workspace starts as this one is now', right: 'sandboxes:write', body: wire.ForkRequest,
    keyed: true, answers: [{ status: 201, schema: wire.SandboxInfo }],
    handle: (call): Promise<SandboxInfo> => call.rooms.sandboxes.fork(part(call, 'sandbox'), call.body, call.asking),
  }),
  route({
    method: 'POST', path: '/v1/sandboxes/{sandbox}/restore', title: 'Puts the workspace back to a snapshot and starts the sandbox anew', right: 'sandboxes:write', body: wire.Restore,
    answers: [{ status: 200, schema: wire.SandboxInfo }],
    handle: (call): Promise<SandboxInfo> => call.rooms.sandboxes.restore(part(call, 'sandbox'), call.body.snapshot, call.asking),
  }),
  route({
    method: 'GET', path: '/v1/sandboxes/{sandbox}/changes', title: 'Compares the workspace with a snapshot, or with what it was at first', right: 'files:read', query: wire.Changes,
    answers: [{ status: 200, schema: z.strictObject({ changes: z.array(Changed), truncated: z.boolean() }) }],
    handle(call) {
      const { from, limit = CHANGES_DEFAULT } = call.query;
      return workspacesOf(call).changes(part(call, 'sandbox'), { ...given({ from }), limit }, call.asking);
    },
  }),
  route({
    method: 'GET', path: '/v1/snapshots', title: 'Lists snapshots', right: 'sandboxes:read', answers: [{ status: 200, schema: z.strictObject({ snapshots: z.array(SnapshotInfo) }) }],
    handle: async (call) => ({ snapshots: await workspacesOf(call).snapshots() }),
  }),
  route({
    method: 'GET', path: '/v1/snapshots/{snapshot}', title: 'Reads a snapshot', right: 'sandboxes:read', answers: [{ status: 200, schema: SnapshotInfo }],
    async handle(call) {
      const id = part(call, 'snapshot');
      const found = (await workspacesOf(call).snapshots()).find((snapshot) => snapshot.id === id);
      if (found === undefined) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: id });
      return found;
    },
  }),
  route({
    method: 'DELETE', path: '/v1/snapshots/{snapshot}', title: 'Removes a snapshot', right: 'workspaces', records: 'remove-snapshot', answers: [{ status: 204 }],
    handle: (call) => workspacesOf(call).removeSnapshot(part(call, 'snapshot'), call.asking),
  }),
  route({
    method: 'GET', path: '/v1/snapshots/{snapshot}/export', title: 'Downloads a snapshot as a tar archive', right: 'workspaces', answers: [{ status: 200, type: 'application/x-tar' }],
    handle: async (call) => sendBytes(call, await workspacesOf(call).export(part(call, 'snapshot'), call.asking), { status: 200, type: 'application/x-tar' }),
  }),
];

/** @throws CaissonError NOT_OFFERED */
export function workspacesOf({ rooms }: Pick<Call, 'rooms'>): WorkspacesRoom {
  if (rooms.workspaces === null) throw new CaissonError('NOT_OFFERED', { what: 'workspaces that stay', why: 'this instance keeps none' });
  return rooms.workspaces;
}

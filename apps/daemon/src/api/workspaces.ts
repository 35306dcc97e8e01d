import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { part, route, type Route } from './route.ts';
import { SnapshotInfo, workspacesOf } from './snapshots.ts';
import { uploaded } from './upload.ts';

export const WorkspaceInfo = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  sizeBytes: z.number(),
  inodes: z.number(),
  createdMs: z.number(),
  parent: z.string().nullable(),
  attachedTo: z.string().nullable(),
  usedBytes: z.number().nullable(),
  damaged: z.string().nullable(),
});

export const WORKSPACE_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: '/v1/workspaces', title: 'Lists workspaces', right: 'workspaces', answers: [{ status: 200, schema: z.strictObject({ workspaces: z.array(WorkspaceInfo) }) }],
    handle: async (call) => ({ workspaces: await workspacesOf(call).list() }),
  }),
  route({
    method: 'GET', path: '/v1/workspaces/{workspace}', title: 'Reads a workspace, by its id or its name', right: 'workspaces', answers: [{ status: 200, schema: WorkspaceInfo }],
    handle: (call) => workspacesOf(call).get(part(call, 'workspace')),
  }),
  route({
    method: 'DELETE', path: '/v1/workspaces/{workspace}', title: 'Removes a workspace and what is in it', right: 'workspaces', records: 'remove-workspace', answers: [{ status: 204 }],
    handle: (call) => workspacesOf(call).remove(part(call, 'workspace'), call.asking),
  }),
  route({
    method: 'POST', path: '/v1/workspaces/import', title: 'Makes a new workspace from a tar archive; without a name it is given one', right: 'workspaces', query: wire.WorkspaceImport, bytes: 'application/x-tar',
    answers: [{ status: 201, schema: z.strictObject({ workspace: WorkspaceInfo, snapshot: SnapshotInfo }) }],
    handle: (call) => workspacesOf(call).import(call.query.name, uploaded(call), call.asking),
  }),
];

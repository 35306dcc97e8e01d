import { z } from 'zod';
import { CaissonError, LayerId, LayerInfo, WorkspaceDiff, WorkspaceId, WorkspaceInfo } from '@caisson/contract';
import type { RemoteKeeper } from '@caisson/runtime';
import type { WorkspaceRoom } from '@caisson/sandbox';
import type { Verbs } from '@caisson/wire';
import type { WorkspaceStore } from '@caisson/workspace';
import { checked } from './checked.ts';
import { allPages, fitting, page, pageOf, PageRequest } from './pages.ts';

const Name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/);
const Either = z.union([LayerId, WorkspaceId]);

/** What control may ask the launcher of workspaces: parameters and reply of each verb. */
const VERBS = {
  'workspace.create': { parameters: z.strictObject({ id: WorkspaceId, name: Name.exactOptional(), sizeBytes: z.int().min(1), inodes: z.int().min(1), passing: z.literal(true).exactOptional() }), reply: WorkspaceInfo },
  'workspace.fork': { parameters: z.strictObject({ from: Either, id: WorkspaceId, name: Name.exactOptional(), passing: z.literal(true).exactOptional() }), reply: WorkspaceInfo },
  'workspace.list': { parameters: PageRequest, reply: pageOf(WorkspaceInfo) },
  'workspace.remove': { parameters: z.strictObject({ id: WorkspaceId }), reply: z.null() },
  'workspace.snapshot': { parameters: z.strictObject({ id: WorkspaceId, layer: LayerId, label: z.string().max(256).exactOptional() }), reply: LayerInfo },
  'workspace.restore': { parameters: z.strictObject({ id: WorkspaceId, layer: LayerId }), reply: z.null() },
  'workspace.diff': { parameters: z.strictObject({ from: Either.nullable(), to: Either, limit: z.int().min(1).max(100_000) }), reply: WorkspaceDiff },
  'layer.list': { parameters: PageRequest, reply: pageOf(LayerInfo) },
  'layer.remove': { parameters: z.strictObject({ id: LayerId }), reply: z.null() },
} as const;

type Verb = keyof typeof VERBS;
type Parameters<V extends Verb> = z.infer<(typeof VERBS)[V]['parameters']>;
type Reply<V extends Verb> = z.infer<(typeof VERBS)[V]['reply']>;
type Handlers = { readonly [V in Verb]: (parameters: Parameters<V>) => Promise<Reply<V>> };

/** Bytes of JSON of a difference that are told: nearly what one frame can carry. An agent names its files as it likes. */
const DIFF_BYTES = 3.5 * 1024 * 1024;

const idOf = ({ id }: { readonly id: string }): string => id;
const byAge = (a: { readonly createdMs: number }, b: { readonly createdMs: number }): number => a.createdMs - b.createdMs;

/** The launcher's side. */
export function workspaceVerbs(store: WorkspaceStore): Verbs {
  const handlers: Handlers = {
    'workspace.create': (options) => store.create(options),
    'workspace.fork': ({ from, ...options }) => store.fork(from, options),
    'workspace.list': async ({ after }) => page(store.list(), idOf, after),
    'workspace.remove': async ({ id }) => (await store.remove(id), null),
    'workspace.snapshot': ({ id, ...options }) => store.snapshot(id, options),
    'workspace.restore': async ({ id, layer }) => (await store.restore(id, layer), null),
    async 'workspace.diff'({ from, to, limit }) {
      const { changes, truncated } = await store.diff(from, to, { limit });
      const told = fitting(changes, DIFF_BYTES);
      return { changes: told, truncated: truncated || told.length < changes.length };
    },
    'layer.list': async ({ after }) => page(store.layers(), idOf, after),
    'layer.remove': async ({ id }) => (await store.removeLayer(id), null),
  };
  const verbs = Object.entries(handlers).map(([verb, handle]) => {
    const run = handle as (parameters: unknown) => Promise<unknown>;
    return [verb, async (parameters: unknown) => run(checked<unknown>(VERBS[verb as Verb].parameters, parameters))];
  });
  return Object.fromEntries(verbs) as Verbs;
}

export interface RemoteWorkspaces extends WorkspaceRoom {
  list(): Promise<readonly WorkspaceInfo[]>;
  layers(): Promise<readonly LayerInfo[]>;
  removeLayer(id: string): Promise<void>;
  /** What `to` has that `from` has not, and the other way round; each a snapshot or a workspace, and null is one with nothing in it. */
  diff(from: string | null, to: string, limit: number): Promise<WorkspaceDiff>;
}

/** Control's side. */
export function remoteWorkspaces(keeper: RemoteKeeper): RemoteWorkspaces {
  const ask = async <V extends Verb>(verb: V, parameters: Parameters<V>): Promise<Reply<V>> =>
    checked(VERBS[verb].reply as unknown as z.ZodType<Reply<V>>, await keeper.other(verb, parameters));
  const list = async (): Promise<readonly WorkspaceInfo[]> => (await allPages((after) => ask('workspace.list', { after }))).toSorted(byAge);
  const layers = async (): Promise<readonly LayerInfo[]> => (await allPages((after) => ask('layer.list', { after }))).toSorted(byAge);
  return {
    list,
    layers,
    create: (options) => ask('workspace.create', options),
    fork: (from, options) => ask('workspace.fork', { from, ...options }),
    nameless: async () => (await list()).filter(({ name }) => name === null).map(({ id }) => id),
    byName: async (name) => (await list()).find((workspace) => workspace.name === name) ?? null,
    sizeOf: async (id) => [...(await layers()), ...(await list())].find((each) => each.id === id) ?? null,
    snapshot: (id, options) => ask('workspace.snapshot', { id, ...options }),
    restore: async (id, layer) => void (await ask('workspace.restore', { id, layer })),
    remove: async (id) => void (await ask('workspace.remove', { id })),
    removeLayer: async (id) => void (await ask('layer.remove', { id })),
    diff: (from, to, limit) => ask('workspace.diff', { from, to, limit }),
    async check(layer, id) {
      const found = (await layers()).find((each) => each.id === layer);
      if (found === undefined) throw new CaissonError('SNAPSHOT_NOT_FOUND', { snapshot: layer });
      const workspace = (await list()).find((each) => each.id === id);
      if (workspace !== undefined && workspace.sizeBytes === found.sizeBytes && workspace.inodes === found.inodes) return;
      throw new CaissonError('SNAPSHOT_DIFFERS', { snapshot: layer, sizeBytes: found.sizeBytes, inodes: found.inodes, ownBytes: workspace?.sizeBytes ?? 0, ownInodes: workspace?.inodes ?? 0 });
    },
  };
}

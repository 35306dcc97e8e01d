import { checkOwnFolders } from '@caisson/wire';
import { ask } from './api.ts';
import { allBrought } from './brought.ts';
import { instancePaths } from './client.ts';

const MOST_MS = 1_000;
const PAGE = 100;

type Asked = (path: string) => Promise<unknown>;
type Named = { readonly id: string; readonly name: string | null };
type Secretive = { readonly secrets: readonly string[] };

/** What there is of each kind. `first` is the word after the command, where one is there. */
const KINDS: Readonly<Record<string, (asked: Asked, first: string) => Promise<readonly (string | null)[]>>> = {
  brought: async () => allBrought().map(({ sandbox }) => sandbox),
  async sandboxes(asked) {
    const { sandboxes } = (await asked(`/v1/sandboxes?limit=${PAGE}`)) as { readonly sandboxes: readonly (Named & { readonly state: string })[] };
    return sandboxes.filter(({ state }) => state !== 'closed' && state !== 'lost').flatMap(({ id, name }) => [id, name]);
  },
  async execs(asked, first) {
    const { execs } = (await asked(`/v1/sandboxes/${encodeURIComponent(first)}/execs`)) as { readonly execs: readonly { readonly id: string }[] };
    return execs.map(({ id }) => id);
  },
  /** Of one sandbox, or of all where none is named. */
  async secrets(asked, first) {
    const one = first === '' ? null : ((await asked(`/v1/sandboxes/${encodeURIComponent(first)}`)) as Secretive);
    const all = one === null ? ((await asked(`/v1/sandboxes?limit=${PAGE}`)) as { readonly sandboxes: readonly Secretive[] }).sandboxes : [one];
    return all.flatMap(({ secrets }) => secrets);
  },
  snapshots: async (asked) => ((await asked('/v1/snapshots')) as { readonly snapshots: readonly { readonly id: string }[] }).snapshots.map(({ id }) => id),
  workspaces: async (asked) => ((await asked('/v1/workspaces')) as { readonly workspaces: readonly Named[] }).workspaces.map(({ name }) => name),
  images: async (asked) => ((await asked('/v1/images')) as { readonly images: readonly { readonly name: string | null; readonly digest: string }[] }).images.map(({ name, digest }) => name ?? digest),
  approvals: async (asked) => ((await asked('/v1/approvals')) as { readonly approvals: readonly { readonly id: string }[] }).approvals.map(({ id }) => id),
  tokens: async (asked) => ((await asked('/v1/tokens')) as { readonly tokens: readonly { readonly id: string }[] }).tokens.map(({ id }) => id),
};

/** Prints what may stand where one of these kinds is wanted, one a line, for a shell that completes. Nothing is said of what goes wrong. */
export async function printIds([kinds = 'sandboxes', first = '']: readonly string[]): Promise<void> {
  const found = new Set<string>();
  for (const kind of kinds.split(',')) {
    const list = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
    for (const each of (await list?.(answerOf, first).catch(() => [])) ?? []) if (each !== null) found.add(each); // nothing may be up
  }
  process.stdout.write([...found].map((each) => `${each}\n`).join(''));
}

async function answerOf(path: string): Promise<unknown> {
  const { apiSocket, ownFolders } = instancePaths();
  checkOwnFolders(ownFolders, { make: false });
  const connection = { place: { socketPath: apiSocket }, name: apiSocket, headers: { host: 'localhost' }, reconnectMs: 0 };
  return ask(connection, { method: 'GET', path, signal: AbortSignal.timeout(MOST_MS) });
}

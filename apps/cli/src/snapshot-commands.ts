import { printable } from '@caisson/contract/errors';
import type { Change } from '@caisson/sdk';
import { networkOf } from './allow.ts';
import { openApi } from './api.ts';
import { showBytes } from './quantity.ts';
import { createRequest, defined, showMade, type CreateFlags, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable, showSpan } from './say.ts';

export async function snapshot(id: string, { label, memory, json }: Json & { readonly label?: string; readonly memory?: boolean }): Promise<number> {
  const box = await (await openApi()).box(id);
  const made = await box.snapshot(defined({ label, memory }));
  if (json === true) printJson(made);
  else print(`${made.id}\n`);
  return 0;
}

export async function snapshots({ json, rm }: Json & { readonly rm?: string }): Promise<number> {
  const { sdk, connection } = await openApi();
  if (rm !== undefined) {
    await sdk.Snapshots.remove(rm, { connection });
    if (json === true) printJson({ removed: rm });
    return 0;
  }
  const found = await sdk.Snapshots.list({ connection });
  if (json === true) printJson({ snapshots: found });
  else printTable(['ID', 'AGE', 'SIZE', 'MEMORY', 'LABEL'], found.map(({ id, label, createdMs, sizeBytes, memory }) => [id, showSpan(Date.now() - createdMs), showBytes(sizeBytes), memory ? 'yes' : '-', label ?? '-']));
  return 0;
}

/** A new sandbox from a sandbox as it is now, or from a snapshot. */
export async function fork(from: string, flags: CreateFlags): Promise<number> {
  const api = await openApi();
  const network = await networkOf(flags);
  const request = { ...createRequest(flags), ...(network && { network }) };
  if (!from.startsWith('lay-')) return showMade(await (await api.box(from)).fork(request), flags);
  return showMade(await api.sdk.Sandbox.create({ ...request, from }, { connection: api.connection }), flags);
}

export async function restore(id: string, to: string, { json }: Json): Promise<number> {
  const info = await (await (await openApi()).box(id)).restore(to);
  if (json === true) printJson(info);
  else note(`${info.id} is as in ${to}, and ${info.state}`);
  return 0;
}

/** Most paths of one difference: as many as the API tells at once. */
export const CHANGES_MOST = 100_000;

export async function diff(id: string, from: string | undefined, { json }: Json): Promise<number> {
  const found = await (await (await openApi()).box(id)).changes(defined({ from, limit: CHANGES_MOST }));
  if (json === true) printJson(found);
  else showChanges(found);
  return 0;
}

const SIGNS = { added: 'A', changed: 'M', removed: 'D' } as const;

/** One line for each path; said when there are more than could be told. */
export function showChanges({ changes, truncated }: { readonly changes: readonly Change[]; readonly truncated: boolean }): void {
  for (const { kind, path, type, sizeBytes } of changes) {
    print(`${SIGNS[kind]} ${printable(path)}${type === 'directory' ? '/' : ''}${type === 'file' ? `  ${showBytes(sizeBytes)}` : type === 'directory' ? '' : `  (${type})`}\n`);
  }
  if (truncated) note(`there are more than ${changes.length} changes; the rest is not shown`);
}

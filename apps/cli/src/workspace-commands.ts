import { pipeline } from 'node:stream/promises';
import { CaissonError, printable } from '@caisson/contract/errors';
import { openApi } from './api.ts';
import { counted, howFar, startProgress } from './progress.ts';
import { showBytes } from './quantity.ts';
import { defined, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable, showSpan } from './say.ts';

/** Those with a name; the others belong to one sandbox each, and go with it. */
export async function workspaceLs({ all, json }: Json & { readonly all?: boolean }): Promise<number> {
  const { sdk, connection } = await openApi();
  const workspaces = (await sdk.Workspaces.list({ connection })).filter(({ name }) => all === true || name !== null);
  if (json === true) printJson({ workspaces });
  else printTable(['ID', 'NAME', 'AGE', 'USED', 'SIZE', 'USED BY'], workspaces.map(({ id, name, createdMs, usedBytes, sizeBytes, attachedTo, damaged }) => [
    id, name ?? '-', showSpan(Date.now() - createdMs), damaged !== null ? 'damaged' : usedBytes === null ? '-' : showBytes(usedBytes), showBytes(sizeBytes), attachedTo ?? '-',
  ]));
  return 0;
}

export async function workspaceRm(names: readonly string[], { json }: Json): Promise<number> {
  const { sdk, connection } = await openApi();
  for (const name of names) await sdk.Workspaces.remove(name, { connection });
  if (json === true) printJson({ removed: names });
  return 0;
}

/** Writes a tar archive of what a workspace holds now to the standard output. */
export async function workspaceExport(name: string): Promise<number> {
  if (process.stdout.isTTY) throw new CaissonError('USAGE', { detail: 'workspaces export: it writes a tar archive, and the standard output is a terminal' });
  const { sdk, connection } = await openApi();
  await pipeline(await sdk.Workspaces.export(name, { connection }), process.stdout, { end: false });
  return 0;
}

/** Makes a workspace of the tar archive on the standard input, and prints its id. */
export async function workspaceImport(name: string | undefined, { json }: Json): Promise<number> {
  const { sdk, connection } = await openApi();
  using progress = startProgress();
  const made = await sdk.Workspaces.import(counted(process.stdin, (bytes) => progress.tell(howFar('sent', 1, bytes))), { ...defined({ name }), connection });
  if (json === true) printJson(made);
  else print(`${made.workspace.id}\n`);
  if (name === undefined) note(`it is called ${printable(made.workspace.name ?? '-')}`);
  return 0;
}

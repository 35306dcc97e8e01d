import type { SecretInfo } from '@caisson/sdk';
import { ask, openApi } from './api.ts';
import type { Json } from './sandbox-commands.ts';
import { print, printJson, printTable, showSpan } from './say.ts';

/** Lists the secrets that a sandbox may use now, and what it has done with them. */
export async function secretsLs(id: string, { json }: Json): Promise<number> {
  const secrets = await (await (await openApi()).box(id)).secrets.list();
  if (json === true) printJson({ secrets });
  else show(secrets);
  return 0;
}

function show(secrets: readonly SecretInfo[]): void {
  const now = Date.now();
  printTable(['NAME', 'FILE', 'USES', 'LAST', 'ENDS'], secrets.map(({ secret, file, uses, lastMs, expiresMs }) => [
    secret, file ?? '-', String(uses), lastMs === null ? '-' : `${showSpan(now - lastMs)} ago`, expiresMs === null ? '-' : `in ${showSpan(expiresMs - now)}`,
  ]));
}

export async function secretsRevoke(id: string, secret: string, { json }: Json): Promise<number> {
  const info = await (await (await openApi()).box(id)).secrets.revoke(secret);
  if (json === true) printJson(info);
  else print(`${info.id}\n`);
  return 0;
}

/** Prints the ids of the sandboxes that have the secret. */
export async function secretsRotate(secret: string, { json }: Json): Promise<number> {
  const { connection } = await openApi();
  const answer = (await ask(connection, { method: 'POST', path: `/v1/secrets/${encodeURIComponent(secret)}/rotate`, json: {} })) as { readonly sandboxes: readonly string[] };
  if (json === true) printJson(answer);
  else print(answer.sandboxes.map((id) => `${id}\n`).join(''));
  return 0;
}

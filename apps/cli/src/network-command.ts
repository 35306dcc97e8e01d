import { CaissonError } from '@caisson/contract/errors';
import type { EgressRule, NetworkInfo } from '@caisson/sdk';
import { networkOf, type NetworkFlags } from './allow.ts';
import { openApi } from './api.ts';
import { showBytes } from './quantity.ts';
import type { Json } from './sandbox-commands.ts';
import { print, printJson, printTable, showSpan } from './say.ts';

/** Shows the network of a sandbox, after giving it other rules where any are named. */
export async function network(id: string, flags: NetworkFlags & Json & { readonly add?: boolean }): Promise<number> {
  const asked = await networkOf(flags);
  if (asked === undefined && flags.add === true) throw new CaissonError('USAGE', { detail: '--add needs --allow or --policy' });
  const box = await (await openApi()).box(id);
  const info = await (asked === undefined ? box.network.get() : flags.add === true ? box.network.allow(...asked.rules) : box.network.set(asked));
  if (flags.json === true) printJson(info);
  else show(info);
  return 0;
}

function show({ rules, learn, secrets, connections, passed, refused, refusedTotal }: NetworkInfo): void {
  const now = Date.now();
  printTable(['EFFECT', 'HOST', 'PORT', 'PROTOCOL', 'NAME'], rules.map(rowOf));
  if (learn === true) print('it learns: it may speak to any name that the policy does not refuse, until it is given other rules\n');
  print('\n');
  if (secrets.length > 0) {
    printTable(['SECRET', 'USES', 'LAST'], secrets.map(({ secret, uses, lastMs }) => [secret, String(uses), `${showSpan(now - lastMs)} ago`]));
    print('\n');
  }
  printTable(['CONNECTED TO', 'FOR', 'OUT', 'IN'], connections.map(({ host, port, startedMs, bytesOut, bytesIn }) => [`${host}:${port}`, showSpan(now - startedMs), showBytes(bytesOut), showBytes(bytesIn)]));
  print(`${passed.connections} connections are over; ${showBytes(passed.bytesOut)} went out, ${showBytes(passed.bytesIn)} came in\n\n`);
  printTable(['REFUSED', 'TIMES', 'LAST', 'WHY', 'WOULD BE ALLOWED BY'], refused.map(({ to, count, lastMs, reason, wouldAllow = '-' }) => [to, String(count), `${showSpan(now - lastMs)} ago`, reason, wouldAllow]));
  print(`${refusedTotal} attempts were refused\n`);
}

function rowOf({ effect = 'allow', host, port, protocol, http, name }: EgressRule): readonly string[] {
  const usual = effect === 'deny' ? '*' : '443';
  return [effect, host, port === undefined ? usual : String(port), protocol ?? (http === undefined || effect === 'deny' ? '-' : port === 80 ? 'http' : 'https'), name ?? '-'];
}

import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract/errors';
import { openApi } from './api.ts';
import { showBytes } from './quantity.ts';
import { liveSandboxes, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable } from './say.ts';

const EVERY_MS = 1_000;

/** What live sandboxes use: once, or again each second where the standard output is a terminal. */
export async function top(id: string | undefined, { json, once }: Json & { readonly once?: boolean }): Promise<number> {
  const api = await openApi();
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  for (;;) {
    const boxes = id === undefined ? await Promise.all((await liveSandboxes(api)).map((info) => api.box(info.id))) : [await api.box(id)];
    const rows = (await Promise.all(boxes.map((box) => box.usage().then((usage) => ({ id: box.id, name: box.name, usage }), () => null)))).filter((row) => row !== null); // one may have ended meanwhile
    if (json === true) printJson({ sandboxes: rows });
    else {
      if (process.stdout.isTTY && once !== true) print('\u001b[H\u001b[J');
      const bytes = (count: number | null): string => (count === null ? '-' : showBytes(count));
      printTable(['ID', 'NAME', 'CPU', 'MEMORY', 'PEAK', 'PIDS', 'OOM'], rows.map(({ id: each, name, usage }) => [
        each, name ?? '-', usage.cpuMs === null ? '-' : `${(usage.cpuMs / 1000).toFixed(1)}s`, bytes(usage.memoryBytes), bytes(usage.memoryPeakBytes), String(usage.pids ?? '-'), String(usage.oomKills ?? '-'),
      ]));
    }
    if (once === true || json === true || !process.stdout.isTTY) return 0;
    if (await delay(EVERY_MS, false, { signal: stop.signal }).catch(() => true)) return 0;
  }
}

/** Passes connections to a port here on to one of a sandbox, until SIGINT or SIGTERM. */
export async function forward(id: string, ports: string, { json }: Json): Promise<number> {
  const [, port, localPort] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(ports) ?? [];
  if (port === undefined || Number(port) === 0 || [port, localPort ?? '0'].some((each) => Number(each) > 65_535)) throw new CaissonError('USAGE', { detail: `forward: ${ports} is not PORT or PORT:LOCAL` });
  const box = await (await openApi()).box(id);
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => resolve());
  await using open = await box.ports.forward(Number(port), localPort === undefined ? {} : { localPort: Number(localPort) });
  if (json === true) printJson({ localPort: open.localPort });
  else {
    print(`127.0.0.1:${open.localPort}\n`);
    note(`passes on to port ${port} of ${box.id} until Ctrl-C`);
  }
  await promise;
  return 0;
}

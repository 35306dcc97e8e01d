import assert from 'node:assert/strict';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Ground } from './given.ts';

/** Tells a daemon something behind the back of the driver. */
export function tell(socketPath: string, method: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((done, fail) => {
    request({ socketPath, method, path: `/v1.41${path}` }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => void (body += text)).on('end', () => done({ status: response.statusCode ?? 0, body }));
    }).on('error', fail).end();
  });
}

/** A daemon that was killed with sandboxes under way takes its time to let go of them. */
const SWEPT_MS = 60_000;

/** Sweeps until nothing is left, or for as long as a daemon may take. @returns what the sweeps have released, each as often as they said so */
export async function sweepAll({ driver }: Pick<Ground, 'driver'>, left: () => readonly string[]): Promise<readonly string[]> {
  const released: string[] = [];
  const untilMs = performance.now() + SWEPT_MS;
  for (;;) {
    released.push(...(await driver.sweep()));
    if (left().length === 0 || performance.now() > untilMs) return released;
    await delay(50);
  }
}

/** The container of a sandbox. */
export async function containerOf(socketPath: string, id: string): Promise<string> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`io.caisson.sandbox=${id}`] }));
  const found = JSON.parse((await tell(socketPath, 'GET', `/containers/json?all=1&filters=${filters}`)).body) as { readonly Id: string }[];
  assert.equal(found.length, 1);
  return found[0]?.Id ?? '';
}

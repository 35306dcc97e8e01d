import assert from 'node:assert/strict';
import { request } from 'node:http';

/** Tells a daemon something behind the back of the driver. */
export function tell(socketPath: string, method: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((done, fail) => {
    request({ socketPath, method, path: `/v1.41${path}` }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => void (body += text)).on('end', () => done({ status: response.statusCode ?? 0, body }));
    }).on('error', fail).end();
  });
}

/** The container of a sandbox. */
export async function containerOf(socketPath: string, id: string): Promise<string> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`io.caisson.sandbox=${id}`] }));
  const found = JSON.parse((await tell(socketPath, 'GET', `/containers/json?all=1&filters=${filters}`)).body) as { readonly Id: string }[];
  assert.equal(found.length, 1);
  return found[0]?.Id ?? '';
}

import { request } from 'node:http';
import { json } from 'node:stream/consumers';

export interface Answered {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** One request to the API as it is, without what the SDK does of itself. */
export function callApi(socketPath: string, method: string, path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers: { 'content-type': 'application/json', ...headers } }, (response) => {
      json(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer as Answered['body'] }), reject);
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

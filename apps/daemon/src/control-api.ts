import { readFileSync } from 'node:fs';
import { CaissonError, type ControlStatus, type StatePaths } from '@caisson/contract';
import { openApi, type Api, type TcpPlace } from './api/open-api.ts';
import { openTokens } from './api/token-store.ts';
import { SharedFiles } from './api-files.ts';
import { apiWorkspaces } from './api-workspaces.ts';
import { log } from './lifetime.ts';
import type { Stay } from './stay.ts';

/** The HTTP API of control: always on its Unix socket, and on TCP where the environment asks for it. */
export async function openControlApi(paths: StatePaths, stay: Stay, { tcp, status }: { readonly tcp: TcpPlace | null; status(): Promise<ControlStatus> }): Promise<AsyncDisposable> {
  const files = new SharedFiles(stay.sandboxes);
  const api: Api = await openApi({
    rooms: {
      sandboxes: stay.sandboxes,
      files,
      workspaces: apiWorkspaces(stay, files),
      images: stay.images,
      tokens: openTokens({ path: 'tokens.json', now: Date.now }),
      status,
      record: stay.record,
    },
    socketPath: paths.apiSocket,
    ...(tcp === null ? {} : { tcp }),
    now: Date.now,
    log,
  });
  if (api.tcpPort !== null) log('api', { port: api.tcpPort });
  return {
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await files[Symbol.asyncDispose]();
    },
  };
}

/**
 * CAISSON_API_LISTEN is `host:port`, CAISSON_API_TLS_CERT and CAISSON_API_TLS_KEY name PEM files, CAISSON_API_HOSTS further
 * host names, comma-separated. Read while control may still read what is root's.
 *
 * @throws CaissonError USAGE when the address is none, or a certificate comes without its key or a key without its certificate
 */
export function tcpPlace(env: NodeJS.ProcessEnv): TcpPlace | null {
  const listen = env['CAISSON_API_LISTEN'];
  if (listen === undefined || listen === '') return null;
  const [, host, port] = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(listen) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new CaissonError('USAGE', { detail: `CAISSON_API_LISTEN is ${listen}, not host:port` });
  const { CAISSON_API_TLS_CERT: cert, CAISSON_API_TLS_KEY: key, CAISSON_API_HOSTS: names = '' } = env;
  if (Boolean(cert) !== Boolean(key)) throw new CaissonError('USAGE', { detail: 'CAISSON_API_TLS_CERT and CAISSON_API_TLS_KEY go together, and one of them is not set' });
  const tls = cert && key ? { tls: { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') } } : {};
  return { host, port: Number(port), names: names.split(',').filter((name) => name !== ''), ...tls };
}

import { CaissonError } from '@caisson/contract';
import { FollowQuery } from '@caisson/contract/api';
import type { WebSocketServer } from 'ws';
import { attach } from './attach.ts';
import { parse, parseQuery } from './parse.ts';
import { connectPort, TCP_PROTOCOL } from './ports.ts';
import type { Upgrade } from './upgrade.ts';

export interface UpgradeRoute {
  readonly path: string;
  readonly title: string;
  /** Value of the Upgrade header. */
  readonly protocol: string;
  readonly right: 'exec';
  readonly query?: typeof FollowQuery;
  handle(upgrade: Upgrade, sockets: WebSocketServer): Promise<void>;
}

export const UPGRADE_ROUTES: readonly UpgradeRoute[] = [
  {
    path: '/v1/sandboxes/{sandbox}/execs/{exec}/attach', title: 'Attaches to an exec by WebSocket', protocol: 'websocket', right: 'exec', query: FollowQuery,
    handle: (upgrade, sockets) => attach(upgrade, sockets, parse(FollowQuery, parseQuery(upgrade.query), 'query').from ?? 0),
  },
  {
    path: '/v1/sandboxes/{sandbox}/ports/{port}/connect', title: 'Connects to a TCP port of a sandbox', protocol: TCP_PROTOCOL, right: 'exec',
    handle: connectPort,
  },
];

/** The route that a target names, with the parts of its path, or null. */
export function upgradeRoute(target: string): { readonly route: UpgradeRoute; readonly params: Readonly<Record<string, string>>; readonly query: string } | null {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  for (const route of UPGRADE_ROUTES) {
    const params = match(route.path, path);
    if (params !== null) return { route, params, query: at < 0 ? '' : target.slice(at + 1) };
  }
  return null;
}

/** The parts of a path that a pattern names; null when it is another path. */
export function match(pattern: string, path: string): Readonly<Record<string, string>> | null {
  const [wanted, found] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== found.length) return null;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = found[index] ?? '';
    if (part.startsWith('{') && value !== '') params[part.slice(1, -1)] = decoded(value);
    else if (part !== value) return null;
  }
  return params;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new CaissonError('REQUEST_INVALID', { detail: 'the path is not percent-encoded UTF-8' });
  }
}

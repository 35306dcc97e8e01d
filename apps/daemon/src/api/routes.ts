import { z } from 'zod';
import { APPROVAL_ROUTES } from './approvals.ts';
import { EXEC_ROUTES } from './execs.ts';
import { FILE_ROUTES } from './files.ts';
import { IMAGE_ROUTES } from './images.ts';
import { route, type Route } from './route.ts';
import { SANDBOX_ROUTES } from './sandboxes.ts';
import { SECRET_ROUTES } from './secrets.ts';
import { SNAPSHOT_ROUTES } from './snapshots.ts';
import { TOKEN_ROUTES } from './token-routes.ts';
import { WORKSPACE_ROUTES } from './workspaces.ts';

const Open = z.looseObject({});

const ABOUT_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: '/v1/health', title: 'Says that the API answers', right: 'anyone', answers: [{ status: 200, schema: z.strictObject({ ok: z.literal(true) }) }],
    handle: () => ({ ok: true }),
  }),
  route({
    method: 'GET', path: '/v1/status', title: 'Reads the state of the host, the policy and the record', right: 'admin', answers: [{ status: 200, schema: Open }],
    handle: ({ rooms }) => rooms.status(),
  }),
];

/** Every route of the API but the upgrades and its own document, which is made from this table. */
export const ROUTES: readonly Route[] = [
  ...SANDBOX_ROUTES, ...SECRET_ROUTES, ...EXEC_ROUTES, ...SNAPSHOT_ROUTES, ...FILE_ROUTES, ...WORKSPACE_ROUTES, ...IMAGE_ROUTES, ...TOKEN_ROUTES, ...APPROVAL_ROUTES, ...ABOUT_ROUTES,
];

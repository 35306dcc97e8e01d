import { SecretName } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { parse } from './parse.ts';
import { part, route, type Call, type Route } from './route.ts';

const Named = z.strictObject({ secret: SecretName });

/** Secrets as sandboxes have them: by name, for their values are never here. */
export const SECRET_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: '/v1/sandboxes/{sandbox}/secrets', title: 'Lists the secrets that a sandbox may use now, and how often each was', right: 'sandboxes:read',
    answers: [{ status: 200, schema: z.strictObject({ secrets: z.array(wire.SecretInfo) }) }],
    handle: async (call) => ({ secrets: await call.rooms.sandboxes.secrets(part(call, 'sandbox')) }),
  }),
  route({
    method: 'DELETE', path: '/v1/sandboxes/{sandbox}/secrets/{secret}', title: 'Takes a secret from a sandbox: its file, or its placeholder and the connections that it went out on', right: 'sandboxes:write',
    answers: [{ status: 200, schema: wire.SandboxInfo }],
    handle: (call) => call.rooms.sandboxes.revokeSecret(part(call, 'sandbox'), secretOf(call), call.asking),
  }),
  route({
    method: 'POST', path: '/v1/secrets/{secret}/rotate', title: 'Takes the value of a secret anew from where it comes', right: 'admin', body: wire.Nothing,
    answers: [{ status: 200, schema: z.strictObject({ sandboxes: z.array(z.string()) }) }],
    handle: async (call) => ({ sandboxes: await call.rooms.sandboxes.rotateSecret(secretOf(call), call.asking) }),
  }),
];

/** @throws CaissonError REQUEST_INVALID */
function secretOf(call: Pick<Call, 'params'>): string {
  return parse(Named, { secret: part(call, 'secret') }, 'query').secret;
}

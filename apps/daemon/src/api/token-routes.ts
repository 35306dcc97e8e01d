import { NewToken, TokenInfo } from '@caisson/contract/api';
import { z } from 'zod';
import { part, route, type Route } from './route.ts';

const Made = z.strictObject({ ...(TokenInfo as unknown as z.ZodObject).shape, token: z.string() });

/** Only the operator's socket makes tokens: a stolen token cannot make itself another. */
export const TOKEN_ROUTES: readonly Route[] = [
  route({
    method: 'POST', path: '/v1/tokens', title: 'Makes a token; it is shown this once', right: 'operator', records: 'make-token', body: NewToken, answers: [{ status: 201, schema: Made }],
    handle: ({ rooms, body }) => rooms.tokens.make(body),
  }),
  route({
    method: 'GET', path: '/v1/tokens', title: 'Lists tokens', right: 'operator', answers: [{ status: 200, schema: z.strictObject({ tokens: z.array(TokenInfo) }) }],
    handle: ({ rooms }) => ({ tokens: rooms.tokens.list() }),
  }),
  route({
    method: 'DELETE', path: '/v1/tokens/{token}', title: 'Revokes a token and cuts what it has open', right: 'operator', records: 'revoke-token', answers: [{ status: 204 }],
    handle: (call) => call.rooms.tokens.revoke(part(call, 'token')),
  }),
];

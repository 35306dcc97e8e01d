import type { IncomingMessage } from 'node:http';
import { CaissonError, type Problem } from '@caisson/contract';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerFactory } from 'fastify';
import { z } from 'zod';
import { askingOf, type Caller } from './access.ts';
import { openApiDocument } from './document.ts';
import { TooMany, type Gate } from './gate.ts';
import { parse, parseJson, parseQuery } from './parse.ts';
import { JSON_MOST_BYTES, mediaType, problemBody, problemTold, rawProblem } from './problems.ts';
import type { ApiRooms } from './rooms.ts';
import { route as made, type Call, type Route } from './route.ts';
import { ROUTES } from './routes.ts';
import type { Streams } from './streams.ts';
import { match, UPGRADE_ROUTES } from './upgrades.ts';
import { takeUnwanted } from './upload.ts';

/** Longest that a JSON body may take to arrive. */
const BODY_MOST_MS = 10_000;
const BYTE_TYPES = ['application/octet-stream', 'application/x-tar', 'application/gzip', 'application/x-gzip'];
const NO_FIELDS = z.strictObject({});
const NO_BODY = NO_FIELDS.optional();

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; known before the body is read. */
    caller: Caller | null;
    /** Runs out when a JSON body does not arrive. */
    deadline: NodeJS.Timeout | null;
  }
  interface FastifyContextConfig {
    route?: Route;
  }
}

export interface AppParts {
  readonly rooms: ApiRooms;
  readonly gate: Gate;
  readonly streams: Streams;
  readonly serverFactory: FastifyServerFactory;
  /** Whether a request came over TCP. */
  overTcp(request: IncomingMessage): boolean;
  log(event: string, fields: Readonly<Record<string, string | number>>): void;
}

/** The routes behind their hooks: who calls is known before the body is read, and the body before the handler runs. */
export async function openApp(parts: AppParts): Promise<FastifyInstance> {
  const app = Fastify({
    serverFactory: parts.serverFactory,
    bodyLimit: JSON_MOST_BYTES,
    frameworkErrors: (error, request, reply) => void refuse(parts, error, request as FastifyRequest, reply as unknown as FastifyReply),
    routerOptions: { maxParamLength: 512, querystringParser: () => ({}) },
    exposeHeadRoutes: false,
  });
  app.decorateRequest('caller', null);
  app.decorateRequest('deadline', null);
  addParsers(app);
  app.addHook('onRequest', async (request, reply) => admitted(parts, request, reply));
  app.addHook('preValidation', async (request) => clearTimeout(request.deadline ?? undefined));
  app.addHook('onResponse', async (request) => clearTimeout(request.deadline ?? undefined));
  app.setErrorHandler((error, request, reply) => refuse(parts, error, request, reply));
  app.setNotFoundHandler((request, reply) => refuse(parts, unknownRoute(request, reply), request, reply));
  for (const route of [...ROUTES, ...upgradeReminders(), documentRoute()]) serve(app, route, parts);
  await app.ready();
  return app;
}

/** Loads what the server loads only when it is used: after control has given its rights up, its own files may be out of reach. */
export async function preload(): Promise<void> {
  const app = Fastify();
  app.get('/', async () => null);
  await app.ready();
  await app.inject('/');
  await app.close();
}

function addParsers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_request: FastifyRequest, body: Buffer) => parseJson(body));
  app.addContentTypeParser('*', async (request: FastifyRequest) => {
    if (request.routeOptions.config.route?.bytes === undefined) throw CaissonError.from(mediaType(request.headers['content-type'], 'application/json'));
  });
}

function admitted({ gate, overTcp }: AppParts, request: FastifyRequest, reply: FastifyReply): void {
  const { route } = request.routeOptions.config;
  request.caller = gate.enter(request.raw, route?.right ?? 'any-token', overTcp(request.raw));
  if (!request.url.startsWith('/')) throw new CaissonError('REQUEST_INVALID', { detail: 'the target must be a path, not an address' });
  void reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': coding } = request.headers;
  if (coding === undefined && (length === undefined || length === '0')) return;
  if (request.method === 'GET') throw new CaissonError('REQUEST_INVALID', { detail: 'body: a GET has none' });
  if (route?.bytes === undefined) {
    const socket = request.raw.socket;
    request.deadline = setTimeout(() => socket.end(rawProblem(new CaissonError('REQUEST_TIMEOUT', { limitMs: BODY_MOST_MS })), () => socket.destroy()), BODY_MOST_MS);
  } else if (type !== undefined && !BYTE_TYPES.includes(type.split(';')[0]?.trim().toLowerCase() ?? '')) {
    throw CaissonError.from(mediaType(type, route.bytes));
  }
}

function serve(app: FastifyInstance, route: Route, parts: AppParts): void {
  const { rooms, streams } = parts;
  const [{ status }] = route.answers;
  const query = route.query ?? NO_FIELDS;
  const body = route.body ?? NO_BODY;
  app.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    config: { route },
    async handler(request, reply) {
      const caller = request.caller ?? unreachable();
      if (Object.values(request.params as object).includes('')) throw unknownRoute(request, reply);
      const call: Call = {
        caller,
        asking: askingOf(caller, request.headers['idempotency-key']),
        params: request.params as Readonly<Record<string, string>>,
        query: parse(query, parseQuery(queryOf(request)), 'query'),
        body: route.bytes === undefined ? parse(body, request.body, 'body') : undefined,
        headers: request.headers,
        upload: request.raw,
        reply,
        rooms,
        streams,
        told: (thrown) => told(parts, thrown, request),
      };
      if (route.records !== undefined) await rooms.record(Object.values(call.params)[0] ?? route.records, route.records, caller.name);
      const answer = await route.handle(call);
      if (reply.sent) return reply;
      return status === 204 ? reply.code(204).send() : reply.code(status).send(answer);
    },
  });
}

function told({ overTcp, log }: AppParts, thrown: unknown, request: FastifyRequest): Problem {
  return problemTold(thrown, { method: request.method, route: request.routeOptions.url ?? '', overTcp: overTcp(request.raw), type: request.headers['content-type'], log });
}

function unreachable(): never {
  throw new CaissonError('INTERNAL', { detail: 'a request without a caller' });
}

function queryOf({ url }: FastifyRequest): string {
  const at = url.indexOf('?');
  return at < 0 ? '' : url.slice(at + 1);
}

/**
 * Answers with a problem. What was not read of a body is not read for its sake: the connection is closed. Of an upload that may
 * be made the rest is taken for a while: a caller that has not stopped sending would lose the answer with the connection.
 */
function refuse(parts: AppParts, thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const found = told(parts, thrown, request);
  const body = problemBody(found);
  if (thrown instanceof TooMany) void reply.header('retry-after', thrown.retryAfterSeconds);
  if (found.code === 'DRAINING') void reply.header('retry-after', 1);
  if (found.code === 'TOKEN_INVALID') void reply.header('www-authenticate', 'Bearer realm="caisson"');
  const isUpload = request.caller !== undefined && request.routeOptions.config?.route?.bytes !== undefined;
  if (found.code === 'DRAINING' || (!request.raw.complete && !isUpload)) void reply.header('connection', 'close');
  else if (!request.raw.complete) takeUnwanted(request.raw);
  return reply.code(body.status).header('content-type', 'application/problem+json').send(JSON.stringify(body));
}

function unknownRoute({ method, url }: FastifyRequest, reply: FastifyReply): CaissonError {
  const path = url.split('?')[0] ?? '';
  const allowed = [...new Set(ROUTES.filter((route) => match(route.path, path) !== null).map((route) => route.method))].join(', ');
  if (allowed === '') return new CaissonError('ROUTE_NOT_FOUND', { method, path: path.slice(0, 256) });
  void reply.header('allow', allowed);
  return new CaissonError('METHOD_NOT_ALLOWED', { method, path: path.slice(0, 256), allowed });
}

/** What asks for a connection without saying so is told how to. */
function upgradeReminders(): readonly Route[] {
  return UPGRADE_ROUTES.map(({ path, protocol, title, right }) =>
    made({
      method: 'GET', path, title, right, query: z.looseObject({}), answers: [{ status: 101 }],
      handle({ reply }) {
        void reply.header('upgrade', protocol).header('connection', 'upgrade');
        throw new CaissonError('UPGRADE_REQUIRED', { path, protocol });
      },
    }));
}

/** Made when it is first asked for: it takes longer than the start of the rest. */
function documentRoute(): Route {
  const kept: { document?: unknown } = {};
  return made({
    method: 'GET', path: '/v1/openapi.json', title: 'Reads this document', right: 'any-token', answers: [{ status: 200 }],
    handle: () => (kept.document ??= openApiDocument()),
  });
}

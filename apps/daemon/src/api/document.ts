import { CreateRequest, EgressRule, ExecRequest, Level, Limits, NetworkRequest, SandboxState, SomeLimits, TerminalSize } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { ImageInfo } from './images.ts';
import type { Answer, Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { SnapshotInfo } from './snapshots.ts';
import { UPGRADE_ROUTES, type UpgradeRoute } from './upgrades.ts';
import { WorkspaceInfo } from './workspaces.ts';

type Node = Readonly<Record<string, unknown>>;

/** Schemas that the document names; what is not here stands where it is used. */
const NAMED: Readonly<Record<string, z.ZodType>> = {
  Allowed: wire.Allowed, CreateRequest, Denied: wire.Denied, EgressRule, Ending: wire.Ending, ExecInfo: wire.ExecInfo, ExecRequest, FileInfo: wire.FileInfo,
  ForkRequest: wire.ForkRequest, HeldAttempt: wire.HeldAttempt, ImageImport: wire.ImageImport, ImageInfo, Level, Limits, LiveUsage: wire.LiveUsage, NetworkInfo: wire.NetworkInfo, NetworkRequest, NewSnapshot: wire.NewSnapshot, NewToken: wire.NewToken,
  OutputCount: wire.OutputCount, OutputEvent: wire.OutputEvent, Problem: wire.Problem, Renewal: wire.Renewal, SandboxInfo: wire.SandboxInfo, SandboxState,
  Scope: wire.Scope, SecretInfo: wire.SecretInfo, SnapshotInfo, SomeLimits, TerminalSize, TokenInfo: wire.TokenInfo, WorkspaceInfo,
};

/** The API as OpenAPI 3.1, made from the table that is served. */
export function openApiDocument(): Node {
  const { inline, components } = convertSchemas();
  const paths: Record<string, Record<string, Node>> = {};
  for (const route of ROUTES) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route, inline);
  for (const route of UPGRADE_ROUTES) (paths[route.path] ??= {})['get'] = upgradeOperation(route, inline);
  paths['/v1/openapi.json'] = { get: { operationId: 'getV1OpenapiJson', summary: 'Reads this document', responses: { 200: { description: 'OK', content: { 'application/json': {} } } } } };
  return {
    openapi: '3.1.0',
    info: { title: 'Caisson', version: '1', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }, description: DESCRIPTION },
    servers: [{ url: 'http://localhost', description: 'over the Unix socket control/api.sock of the instance, or TCP where it is configured' }],
    security: [{ token: [] }],
    paths,
    components: { schemas: components, securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'over TCP; the Unix socket is the operator\'s and needs none' } } },
  };
}

const DESCRIPTION = 'Unknown fields and parameters are errors. Errors are problem+json (RFC 9457) with the codes of errors.md. Streams are server-sent events: '
  + 'x-events names them. An event problem ends a stream that failed, an event drain one that Caisson ended because it is stopping.';

const REF = '#/components/schemas/';

type Inline = (schema: z.ZodType) => Node;

/** Converts every schema of the table at once: those with a name become components, the others stand where they are used. */
function convertSchemas(): { readonly inline: Inline; readonly components: Node } {
  const ids = new Map<z.ZodType, string>(Object.entries(NAMED).map(([id, schema]) => [schema, id]));
  for (const schema of usedSchemas()) if (!ids.has(schema)) ids.set(schema, `here${ids.size}`);
  const registry = z.registry<{ id: string }>();
  for (const [schema, id] of ids) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { uri: (id) => `${REF}${id}`, io: 'input', unrepresentable: 'any' });
  const converted = (id: string): Node => withoutMeta(schemas[id] ?? {});
  return {
    inline(schema) {
      const id = ids.get(schema) ?? '';
      return id in NAMED ? { $ref: `${REF}${id}` } : converted(id);
    },
    components: Object.fromEntries(Object.keys(NAMED).map((id) => [id, converted(id)])),
  };
}

function usedSchemas(): readonly z.ZodType[] {
  const ofRoute = ({ query, body, answers }: Route): readonly (z.ZodType | undefined)[] => [
    query, body, ...answers.flatMap(({ schema, events }) => [schema, ...Object.values(events ?? {})]),
  ];
  return [...ROUTES.flatMap(ofRoute), ...UPGRADE_ROUTES.map(({ query }) => query)].filter((schema) => schema !== undefined);
}

function withoutMeta(schema: Node): Node {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== '$schema' && name !== '$id'));
}

function operation(route: Route, inline: Inline): Node {
  const body = requestBody(route, inline);
  return {
    operationId: operationId(route.method, route.path),
    summary: route.title,
    ...(route.right === 'anyone' ? { security: [] } : { 'x-scope': route.right }),
    parameters: [...pathParameters(route.path), ...queryParameters(route.query, inline), ...headerParameters(route)],
    ...(body === null ? {} : { requestBody: body }),
    responses: responses(route.answers, inline),
  };
}

function upgradeOperation(route: UpgradeRoute, inline: Inline): Node {
  return {
    operationId: operationId('GET', route.path),
    summary: route.title,
    'x-scope': route.right,
    'x-upgrade': route.protocol,
    parameters: [...pathParameters(route.path), ...queryParameters(route.query, inline)],
    responses: responses([{ status: 101 }], inline),
  };
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function pathParameters(path: string): readonly Node[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
}

function queryParameters(query: z.ZodType | undefined, inline: Inline): readonly Node[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = inline(query) as { readonly properties?: Readonly<Record<string, Node>>; readonly required?: readonly string[] };
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: required.includes(name), schema }));
}

function headerParameters(route: Route): readonly Node[] {
  const header = (name: string, description: string): Node => ({ name, in: 'header', required: false, description, schema: { type: 'string' } });
  return [
    ...(route.keyed === true ? [header('Idempotency-Key', '1 to 128 printable characters: the same key and request again get the first answer')] : []),
    ...(route.path.endsWith('/output') ? [header('Last-Event-ID', 'id of the last event seen; it goes before from')] : []),
  ];
}

function requestBody(route: Route, inline: Inline): Node | null {
  if (route.bytes !== undefined) return { required: true, content: { [route.bytes]: { schema: { type: 'string', format: 'binary' } } } };
  if (route.body === undefined) return null;
  return { required: !route.body.safeParse(undefined).success, content: { 'application/json': { schema: inline(route.body) } } };
}

const SAID: Readonly<Record<number, string>> = { 101: 'Switching Protocols', 200: 'OK', 201: 'Created', 204: 'No Content' };

function responses(answers: readonly Answer[], inline: Inline): Node {
  const all = answers.map((answer) => [answer.status, { description: SAID[answer.status], ...content(answer, inline) }] as const);
  return { ...Object.fromEntries(all), default: { description: 'a problem', content: { 'application/problem+json': { schema: { $ref: `${REF}Problem` } } } } };
}

function content({ status, schema, type, events }: Answer, inline: Inline): Node {
  if (status === 204 || status === 101) return {};
  const named = events === undefined ? {} : { 'x-events': Object.fromEntries(Object.entries(events).map(([name, data]) => [name, inline(data)])) };
  const body = schema === undefined ? { type: 'string', ...(type === 'text/event-stream' ? {} : { format: 'binary' }) } : inline(schema);
  return { content: { [type ?? 'application/json']: { schema: body, ...named } } };
}

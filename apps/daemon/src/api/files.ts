import { CaissonError } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { etagOf, expectedOf, sendBytes, spanOf } from './bytes.ts';
import { eventText, sendEvents } from './events.ts';
import type { FilePath, Files } from './rooms.ts';
import { given, part, route, type Call, type Route } from './route.ts';
import { uploaded } from './upload.ts';

const AT = '/v1/sandboxes/{sandbox}/files';
const LIST_DEFAULT = 1_000;
const FOUND_DEFAULT = 1_000;
/** Characters of names and lines in one answer, one entry more at most: an agent makes them long, and JSON up to six times as long. */
const TOLD_MOST = 2 * 1024 * 1024;
const InfoAnswer = { status: 200, schema: wire.FileInfo } as const;
/** A path of a workspace, and its bytes where they are not UTF-8. */
const told = { path: z.string(), pathBase64: z.base64().exactOptional() };
const Matches = z.strictObject({
  matches: z.array(z.strictObject({ ...told, line: z.int(), column: z.int(), text: z.string() })),
  truncated: z.boolean(),
});

export const FILE_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: `${AT}/content`, title: 'Downloads a file, or the Range of it', right: 'files:read', query: wire.ReadFile,
    answers: [{ status: 200, type: 'application/octet-stream' }], handle: download,
  }),
  route({
    method: 'PUT', path: `${AT}/content`, title: 'Writes a file whole or not at all; If-Match names the content that it replaces', right: 'files:write',
    query: wire.PutFile, bytes: 'application/octet-stream', answers: [InfoAnswer],
    handle(call) {
      const { mode, parents, exclusive } = call.query;
      const options = given({ mode, parents, exclusive, expected: expectedOf(call.headers['if-match']) });
      return within(call, (files) => files.write(pathOf(call.query), uploaded(call), options));
    },
  }),
  route({
    method: 'POST', path: `${AT}/append`, title: 'Writes at the end of a file', right: 'files:write',
    query: wire.Append, bytes: 'application/octet-stream', answers: [InfoAnswer],
    handle: (call) => within(call, (files) => files.append(pathOf(call.query), uploaded(call))),
  }),
  route({
    method: 'GET', path: `${AT}/list`, title: 'Lists a folder; a listing in several pages is not one moment', right: 'files:read', query: wire.ListFiles,
    answers: [{ status: 200, schema: z.strictObject({ files: z.array(wire.FileInfo), next: z.string().nullable() }) }], handle: list,
  }),
  route({
    method: 'GET', path: `${AT}/stat`, title: 'Reads what a path is', right: 'files:read', query: wire.Stat, answers: [InfoAnswer],
    handle: (call) => within(call, (files) => files.stat(pathOf(call.query))),
  }),
  route({
    method: 'POST', path: `${AT}/mkdir`, title: 'Makes a folder', right: 'files:write', body: wire.Mkdir, answers: [InfoAnswer],
    handle: (call) => within(call, (files) => files.mkdir(pathOf(call.body), given({ parents: call.body.parents, mode: call.body.mode }))),
  }),
  route({
    method: 'POST', path: `${AT}/move`, title: 'Moves or renames a file or folder', right: 'files:write', body: wire.Move, answers: [InfoAnswer],
    handle: (call) => within(call, (files) => files.move(...endsOf(call.body), given({ replace: call.body.replace }))),
  }),
  route({
    method: 'POST', path: `${AT}/remove`, title: 'Removes a file or folder', right: 'files:write', body: wire.Remove, answers: [{ status: 204 }],
    handle: (call) => within(call, (files) => files.remove(pathOf(call.body), given({ recursive: call.body.recursive }))),
  }),
  route({
    method: 'POST', path: `${AT}/chmod`, title: 'Sets the mode of a file', right: 'files:write', body: wire.Chmod, answers: [InfoAnswer],
    handle: (call) => within(call, (files) => files.chmod(pathOf(call.body), call.body.mode)),
  }),
  route({
    method: 'POST', path: `${AT}/patch`, title: 'Applies a unified diff, all of it or nothing', right: 'files:write', body: wire.Patch,
    answers: [{ status: 200, schema: z.looseObject({}) }],
    handle: (call) => within(call, (files) => files.patch(pathOf(call.body, '/workspace'), call.body.diff)),
  }),
  route({
    method: 'POST', path: `${AT}/search`, title: 'Finds files by name, or lines by content', right: 'files:read', body: wire.Search,
    answers: [{ status: 200, schema: Matches }], handle: search,
  }),
  route({
    method: 'GET', path: `${AT}/watch`, title: 'Tells changes below a path', right: 'files:read', query: wire.Watch,
    answers: [{ status: 200, type: 'text/event-stream', events: { change: z.strictObject({ kind: z.string(), ...told }) } }],
    handle: (call) => sendEvents(call, (signal) => watched(call, signal)),
  }),
  route({
    method: 'GET', path: `${AT}/archive`, title: 'Downloads a folder as a tar archive', right: 'files:read', query: wire.Archive,
    answers: [{ status: 200, type: 'application/x-tar' }],
    handle: (call) => within(call, async (files) => {
      await files.stat(pathOf(call.query)); // what is not there is a problem, not an archive that breaks off
      await sendBytes(call, files.pack(pathOf(call.query)), { status: 200, type: 'application/x-tar' });
    }),
  }),
  route({
    method: 'PUT', path: `${AT}/archive`, title: 'Unpacks a tar archive, gzip or not, below a path', right: 'files:write', query: wire.Archive, bytes: 'application/x-tar',
    answers: [{ status: 200, schema: z.strictObject({ files: z.int(), bytes: z.int() }) }],
    handle: (call) => within(call, (files) => files.unpack(pathOf(call.query), uploaded(call))),
  }),
];

interface Named {
  readonly path?: string | undefined;
  readonly pathBase64?: string | undefined;
}

/** The path that a request names, as text or as bytes; the schemas let no request name it twice. */
function pathOf({ path, pathBase64 }: Named, otherwise = ''): FilePath {
  return pathBase64 === undefined ? (path ?? otherwise) : Buffer.from(pathBase64, 'base64');
}

function endsOf({ from, fromBase64, to, toBase64 }: z.output<typeof wire.Move>): [FilePath, FilePath] {
  return [pathOf({ path: from, pathBase64: fromBase64 }), pathOf({ path: to, pathBase64: toBase64 })];
}

/** Opens the files of the sandbox for the time of one call. */
async function within<T>(call: Call, use: (files: Files) => Promise<T>): Promise<T> {
  await using files = await filesOf(call);
  return await use(files);
}

function filesOf(call: Call): Promise<Files> {
  if (call.rooms.files === null) throw new CaissonError('NOT_OFFERED', { what: 'access to files', why: 'this instance has no helper for them' });
  return call.rooms.files.open(part(call, 'sandbox'), call.asking);
}

async function download(call: Call<z.output<typeof wire.ReadFile>>): Promise<void> {
  const path = pathOf(call.query);
  const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = call.headers;
  await within(call, async (files) => {
    const before = await files.stat(path, { follow: true }); // a link is read as what it leads to
    const etag = etagOf(before);
    if (ifNoneMatch === etag) return void call.reply.code(304).header('etag', etag).send();
    if (range === undefined || (ifRange !== undefined && ifRange !== etag)) {
      const { info, body } = await files.read(path);
      return sendBytes(call, body, { status: 200, type: 'application/octet-stream', sizeBytes: info.sizeBytes, headers: { etag: etagOf(info), 'accept-ranges': 'bytes' } });
    }
    void call.reply.header('content-range', `bytes */${before.sizeBytes}`);
    const { first, last } = spanOf(range, before.sizeBytes);
    const { info, body } = await files.read(path, { offset: first, length: last - first + 1 });
    const headers = { etag: etagOf(info), 'content-range': `bytes ${first}-${last}/${info.sizeBytes}`, 'accept-ranges': 'bytes' };
    return sendBytes(call, body, { status: 206, type: 'application/octet-stream', sizeBytes: last - first + 1, headers });
  });
}

async function list(call: Call<z.output<typeof wire.ListFiles>>): Promise<unknown> {
  const { recursive, limit = LIST_DEFAULT, cursor } = call.query;
  const skip = cursor === undefined ? 0 : numberOf(cursor);
  return within(call, async (client) => {
    const files = [];
    let [seen, length] = [0, 0];
    for await (const file of client.list(pathOf(call.query), given({ recursive }))) {
      if (files.length >= Math.max(1, limit) || length > TOLD_MOST) return { files, next: String(seen) };
      if (++seen <= skip) continue;
      length += file.path.length + (file.target?.length ?? 0);
      files.push(file);
    }
    return { files, next: null };
  });
}

function numberOf(cursor: string): number {
  if (/^\d{1,9}$/.test(cursor)) return Number(cursor);
  throw new CaissonError('REQUEST_INVALID', { detail: 'cursor: is not the next of an earlier answer' });
}

async function search(call: Call<unknown, z.output<typeof wire.Search>>): Promise<unknown> {
  const { name, content, regex, limit = FOUND_DEFAULT } = call.body;
  return within(call, async (files) => {
    const matches = [];
    let length = 0;
    for await (const match of files.search(pathOf(call.body), { ...given({ name, content, regex }), limit: limit + 1 })) {
      if (matches.length >= limit || length > TOLD_MOST) return { matches, truncated: true };
      length += match.path.length + match.text.length;
      matches.push(match);
    }
    return { matches, truncated: false };
  });
}

async function* watched(call: Call<z.output<typeof wire.Watch>>, signal: AbortSignal): AsyncGenerator<string> {
  await using files = await filesOf(call);
  const { recursive } = call.query;
  for await (const change of files.watch(pathOf(call.query), { ...given({ recursive }), signal })) yield eventText('change', change);
}

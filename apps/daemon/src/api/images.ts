import { CaissonError } from '@caisson/contract';
import * as wire from '@caisson/contract/api';
import { z } from 'zod';
import { eventText, sendEvents } from './events.ts';
import type { ImagesRoom } from './rooms.ts';
import { part, route, type Call, type Route } from './route.ts';

export const ImageInfo = z.strictObject({
  digest: z.string(),
  name: z.string().nullable(),
  names: z.array(z.string()),
  createdMs: z.number(),
  importedMs: z.number(),
  sizeBytes: z.number(),
  env: z.array(z.string()),
  source: z.string(),
  labels: z.record(z.string(), z.string()),
});
const Progress = z.strictObject({ line: z.string() });
/** Lines of progress that wait for a slow reader; older ones are dropped, because they are told for people only. */
const LINES_MOST = 1_000;
const ONE = '/v1/images/{image}';

export const IMAGE_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: '/v1/images', title: 'Lists images', right: 'images', answers: [{ status: 200, schema: z.strictObject({ images: z.array(ImageInfo) }) }],
    handle: async (call) => ({ images: await imagesOf(call).list() }),
  }),
  route({
    method: 'POST', path: '/v1/images', title: 'Imports or builds an image', right: 'images', records: 'import-image', body: wire.ImageImport,
    answers: [{ status: 200, type: 'text/event-stream', events: { progress: Progress, image: ImageInfo, problem: wire.Problem } }],
    handle(call) {
      const images = imagesOf(call);
      const { source } = call.body;
      if (call.caller.token !== null && source?.startsWith('/') === true) throw new CaissonError('SCOPE_MISSING', { detail: 'a path of the host needs the socket of the operator' });
      return sendEvents(call, (signal) => progress(images, call.body, signal));
    },
  }),
  route({
    method: 'GET', path: ONE, title: 'Reads an image, by its digest or its name', right: 'images', answers: [{ status: 200, schema: ImageInfo }],
    handle: (call) => imagesOf(call).get(part(call, 'image')),
  }),
  route({
    method: 'DELETE', path: ONE, title: 'Removes an image; by one of its several names only that name', right: 'images', records: 'remove-image', answers: [{ status: 204 }],
    handle: (call) => imagesOf(call).remove(part(call, 'image')),
  }),
];

function imagesOf({ rooms }: Pick<Call, 'rooms'>): ImagesRoom {
  if (rooms.images === null) throw new CaissonError('NOT_OFFERED', { what: 'images besides host', why: 'this instance keeps none' });
  return rooms.images;
}

async function* progress(images: ImagesRoom, request: z.output<typeof wire.ImageImport>, signal: AbortSignal): AsyncGenerator<string> {
  const lines: string[] = [];
  let wake = Promise.withResolvers<void>();
  const onProgress = (line: string): void => {
    if (lines.length >= LINES_MOST) lines.shift();
    lines.push(line);
    wake.resolve();
  };
  const state = { over: false };
  const made = images.import(request, { onProgress, signal }).finally(() => {
    state.over = true;
    wake.resolve();
  });
  made.catch(() => undefined); // it is awaited below, when its lines have been told
  while (!state.over || lines.length > 0) {
    await wake.promise;
    wake = Promise.withResolvers<void>();
    for (let line = lines.shift(); line !== undefined; line = lines.shift()) yield eventText('progress', { line });
  }
  yield eventText('image', await made);
}

import { statSync } from 'node:fs';
import { z } from 'zod';
import { CaissonError, problemOf } from '@caisson/contract';
import { parseDefinition, type ImageInfo, type ImageSource, type ImageStore } from '@caisson/images';
import type { RemoteKeeper } from '@caisson/runtime';
import type { ImageRoom } from '@caisson/sandbox';
import type { Verbs } from '@caisson/wire';
import type { ImagesRoom } from './api/rooms.ts';
import { checked } from './checked.ts';
import { allPages, page, pageOf, PageRequest } from './pages.ts';

const ImageInfo: z.ZodType<ImageInfo> = z.strictObject({
  digest: z.string(), name: z.string().nullable(), names: z.array(z.string()), createdMs: z.number(), importedMs: z.number(), sizeBytes: z.number(),
  env: z.array(z.string()), source: z.string(), labels: z.record(z.string(), z.string()),
});

const Ref = z.strictObject({ ref: z.string().max(256) });
const Job = z.string().regex(/^[0-9a-f-]{36}$/);
const Import = z.strictObject({ job: Job, name: z.string().max(63).exactOptional(), source: z.string().max(4096).exactOptional(), definition: z.string().max(1024 * 1024).exactOptional() });
const Progress = z.strictObject({ job: Job, from: z.int().min(0) });
const ProgressReply = z.strictObject({ lines: z.array(z.string()), over: z.boolean() });

/** Lines of an import that are kept for whoever asks; the oldest go first. */
const LINES_MOST = 10_000;

interface Work {
  readonly lines: string[];
  /** Lines that have gone. */
  gone: number;
  over: boolean;
  changed: PromiseWithResolvers<void>;
  readonly stop: AbortController;
}

/** The launcher's side. */
export function imageVerbs(store: ImageStore): Verbs {
  const jobs = new Map<string, Work>();
  const begin = (id: string): Work => {
    const job: Work = { lines: [], gone: 0, over: false, changed: Promise.withResolvers(), stop: new AbortController() };
    if (jobs.has(id)) throw new CaissonError('REQUEST_INVALID', { detail: 'job: is that of another import' });
    jobs.set(id, job);
    return job;
  };
  const tell = (job: Work): void => {
    job.changed.resolve();
    job.changed = Promise.withResolvers();
  };
  return {
    'image.list': async (parameters) => page(store.list(), ({ digest }) => digest, checked(PageRequest, parameters).after),
    'image.remove': async (parameters) => store.remove(checked(Ref, parameters).ref),
    async 'image.import'(parameters) {
      const { job: id, name, source, definition } = checked(Import, parameters);
      const job = begin(id);
      const onProgress = (line: string): void => {
        job.lines.push(line);
        if (job.lines.length > LINES_MOST) job.gone += job.lines.splice(0, job.lines.length - LINES_MOST).length;
        tell(job);
      };
      try {
        if (definition !== undefined) return await store.build(parseDefinition(definition), { onProgress, signal: job.stop.signal });
        return await store.import(sourceOf(source ?? ''), { ...(name === undefined ? {} : { name }), onProgress, signal: job.stop.signal });
      } finally {
        job.over = true;
        tell(job);
        setTimeout(() => jobs.delete(id), 60_000).unref();
      }
    },
    /** Answered when there are lines from a place on, or there will be no more. */
    async 'image.progress'(parameters) {
      const { job: id, from } = checked(Progress, parameters);
      const job = jobs.get(id);
      if (job === undefined) return { lines: [], over: true }; // asked after its import on the same connection, it is known as long as it is told
      while (job.gone + job.lines.length <= from && !job.over) await job.changed.promise;
      return { lines: job.lines.slice(Math.max(0, from - job.gone)), over: job.over };
    },
    async 'image.cancel'(parameters) {
      jobs.get(checked(z.strictObject({ job: Job }), parameters).job)?.stop.abort(new CaissonError('CANCELLED', { detail: 'the caller went away' }));
    },
  };
}

/** `name@sha256:…` is of a registry; an absolute path, with or without the digest of one image in it, is on this host. */
function sourceOf(text: string): ImageSource {
  if (!text.startsWith('/')) return { kind: 'registry', reference: text };
  const [, path = text, digest] = /^(.*?)(?:@(sha256:[0-9a-f]{64}))?$/s.exec(text) ?? [];
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new CaissonError('IMAGE_UNAVAILABLE', { source: path, detail: 'there is no such file' });
  return { kind: stat.isDirectory() ? 'layout' : 'archive', path, ...(digest === undefined ? {} : { digest }) };
}

export interface RemoteImages extends ImageRoom, ImagesRoom {}

/** Control's side. */
export function remoteImages(keeper: RemoteKeeper): RemoteImages {
  const list = async (): Promise<readonly ImageInfo[]> => allPages(async (after) => checked(pageOf(ImageInfo), await keeper.other('image.list', { after })));
  const get = async (ref: string): Promise<ImageInfo> => {
    const image = (await list()).find(({ digest, names }) => digest === ref || names.includes(ref));
    if (image === undefined) throw new CaissonError('IMAGE_NOT_FOUND', { image: ref });
    return image;
  };
  return {
    list,
    get,
    async resolve(ref) {
      if (ref === 'host') return { image: 'host', env: [] };
      const { digest, env } = await get(ref);
      return { image: digest as `sha256:${string}`, env };
    },
    remove: async (ref) => void (await keeper.other('image.remove', { ref })),
    async import({ name, source, build }, { onProgress, signal }) {
      const job = crypto.randomUUID();
      const parameters = { job, ...(name === undefined ? {} : { name }), ...(source === undefined ? {} : { source }), ...(build === undefined ? {} : { definition: JSON.stringify(build) }) };
      const cancel = (): void => void keeper.other('image.cancel', { job }).catch(() => undefined);
      signal.addEventListener('abort', cancel, { once: true });
      const made = keeper.other('image.import', parameters);
      made.catch(() => undefined); // it is awaited below, when its lines have been told
      try {
        await tellProgress(keeper, job, onProgress);
        return checked(ImageInfo, await made);
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    },
  };
}

async function tellProgress(keeper: RemoteKeeper, job: string, onProgress: (line: string) => void): Promise<void> {
  try {
    for (let from = 0, over = false; !over; ) {
      const reply = checked(ProgressReply, await keeper.other('image.progress', { job, from }));
      for (const line of reply.lines) onProgress(line);
      from += reply.lines.length;
      ({ over } = reply);
    }
  } catch (error) {
    onProgress(problemOf(error).message);
  }
}

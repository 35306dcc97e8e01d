import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CaissonError, printable } from '@caisson/contract/errors';
import type { ImageInfo, TokenInfo } from '@caisson/sdk';
import { ask, askStream, openApi } from './api.ts';
import { parseDurationMs, showBytes } from './quantity.ts';
import { defined, type Json } from './sandbox-commands.ts';
import { note, print, printJson, printTable, showSpan } from './say.ts';

export async function imageLs({ json }: Json): Promise<number> {
  const { connection } = await openApi();
  const answer = (await ask(connection, { method: 'GET', path: '/v1/images' })) as { readonly images: readonly ImageInfo[] };
  if (json === true) printJson(answer);
  else printTable(['NAME', 'SIZE', 'AGE', 'DIGEST'], answer.images.map(({ names, sizeBytes, importedMs, digest }) => [names.join(' ') || '-', showBytes(sizeBytes), showSpan(Date.now() - importedMs), digest]));
  return 0;
}

export async function imageRm(images: readonly string[], { json }: Json): Promise<number> {
  const { connection } = await openApi();
  for (const image of images) await ask(connection, { method: 'DELETE', path: `/v1/images/${encodeURIComponent(image)}` });
  if (json === true) printJson({ removed: images });
  return 0;
}

/** Imports an image from a source, or builds one from a definition, and prints its digest. */
export async function imageMake(request: { readonly source?: string; readonly definition?: string; readonly name?: string }, { json }: Json): Promise<number> {
  const build = request.definition === undefined ? undefined : await definitionOf(request.definition);
  const { connection } = await openApi();
  const response = await askStream(connection, { method: 'POST', path: '/v1/images', json: defined({ source: request.source === undefined ? undefined : sourceOf(request.source), build, name: request.name }), headers: { accept: 'text/event-stream' } });
  response.setEncoding('utf8');
  let rest = '';
  for await (const piece of response as AsyncIterable<string>) {
    const events = (rest + piece).split('\n\n');
    rest = events.pop() ?? '';
    for (const event of events) {
      const made = takeEvent(event);
      if (made === null) continue;
      if (json === true) printJson(made);
      else print(`${made.digest}\n`);
      return 0;
    }
  }
  throw new CaissonError('INTERNAL', { detail: 'the connection ended before the image was there' });
}

/**
 * A path from here on is told whole, because Caisson runs elsewhere. One begins with a dot or exists; what names a digest and
 * does not begin so is of a registry, whatever exists here.
 */
function sourceOf(text: string): string {
  return /^\.{1,2}(?:\/|$)/.test(text) || (!text.includes('@sha256:') && existsSync(text)) ? resolve(text) : text;
}

async function definitionOf(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (cause) {
    throw new CaissonError('USAGE', { detail: `image build: ${path}: ${(cause as Error).message}` }, { cause });
  }
}

/** The image, when it is there; progress is told. @throws CaissonError the problem that is told instead */
function takeEvent(text: string): ImageInfo | null {
  const name = /^event: ?(.*)$/m.exec(text)?.[1];
  const data = /^data: ?(.*)$/m.exec(text)?.[1];
  if (name === undefined || data === undefined) return null;
  const told = JSON.parse(data) as Readonly<Record<string, string>>;
  if (name === 'progress') note(printable(told['line'] ?? ''));
  if (name === 'problem') throw Object.assign(new CaissonError('INTERNAL', { detail: '' }), { code: told['code'], message: told['detail'], hint: told['hint'] });
  return name === 'image' ? (JSON.parse(data) as ImageInfo) : null;
}

/** Makes a token for the API over TCP and prints it: it is shown this once. */
export async function tokenCreate(name: string, flags: Json & { readonly scope?: readonly string[]; readonly expires?: string }): Promise<number> {
  if (flags.scope === undefined) throw new CaissonError('USAGE', { detail: 'token create: it needs a --scope' });
  const expiresMs = flags.expires === undefined ? undefined : parseDurationMs('--expires', flags.expires);
  const { connection } = await openApi();
  const made = (await ask(connection, { method: 'POST', path: '/v1/tokens', json: defined({ name, scopes: flags.scope, expiresMs }) })) as TokenInfo & { readonly token: string };
  if (flags.json === true) printJson(made);
  else print(`${made.token}\n`);
  return 0;
}

export async function tokenLs({ json }: Json): Promise<number> {
  const { connection } = await openApi();
  const answer = (await ask(connection, { method: 'GET', path: '/v1/tokens' })) as { readonly tokens: readonly TokenInfo[] };
  if (json === true) printJson(answer);
  else printTable(['ID', 'NAME', 'EXPIRES', 'SCOPES'], answer.tokens.map(({ id, name, expiresMs, scopes }) => [id, name, `in ${showSpan(expiresMs - Date.now())}`, scopes.join(' ')]));
  return 0;
}

export async function tokenRm(ids: readonly string[], { json }: Json): Promise<number> {
  const { connection } = await openApi();
  for (const id of ids) await ask(connection, { method: 'DELETE', path: `/v1/tokens/${encodeURIComponent(id)}` });
  if (json === true) printJson({ revoked: ids });
  return 0;
}

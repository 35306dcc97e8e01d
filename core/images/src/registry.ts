import { renameSync } from 'node:fs';
import { CaissonError } from '@caisson/contract';
import { sha256 } from './blobs.ts';
import { chooseFrom, DOCUMENT_BYTES_MAX, isIndex } from './manifest.ts';
import { runTool, toolAt, type Identity } from './run-tool.ts';

export interface FetchOptions {
  /** Folder that belongs to `as`; the blobs come into `blobs`. */
  readonly folder: string;
  readonly as?: Identity | undefined;
  readonly arch: string;
  /** Folder of certificates of authorities that registries may be signed by, as in containers-certs.d(5). Default: the host's. */
  readonly certificates?: string | undefined;
  readonly signal: AbortSignal;
  onProgress(line: string): void;
}

/** Longest that a registry is asked what a tag means, for the hint of a refusal. */
const ASK_MS = 15_000;
/** distribution-spec, "Pulling manifests": a name, and after @ the digest. Nothing in it can look like an option. */
const NAMED = /^((?=[^/]*[.:]|localhost\/)[a-z0-9][a-z0-9.-]*(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/;

/**
 * Fetches an image by digest with skopeo(1) and returns the digest of the manifest for this platform. What arrives is
 * checked again when it is unpacked.
 * @throws CaissonError REQUEST_INVALID, IMAGE_TAG_REFUSED, IMAGE_UNAVAILABLE, IMAGE_TOOL_MISSING
 */
export async function fetchImage(reference: string, options: FetchOptions): Promise<string> {
  const [, name, tag, digest] = NAMED.exec(reference) ?? [];
  if (name === undefined) throw new CaissonError('REQUEST_INVALID', { detail: `${reference} is not registry/name@sha256:…` });
  if (tag !== undefined || digest === undefined) {
    const meant = digest ?? (await meaningOf(`${name}:${tag ?? 'latest'}`, options));
    throw new CaissonError('IMAGE_TAG_REFUSED', { reference, suggestion: `${name}@${meant ?? 'sha256:…'}` });
  }
  const document = await inspect(`${name}@${digest}`, options);
  if (sha256(document) !== digest) throw new CaissonError('IMAGE_INVALID', { detail: `the registry answered ${digest} with another document` });
  const manifest = isIndex(document) ? chooseFrom(document, options).digest : digest;
  options.onProgress(`fetching ${name}@${manifest}`);
  await skopeo(['copy', '--insecure-policy', '--preserve-digests', ...certificates('--src-cert-dir', options), `docker://${name}@${manifest}`, 'dir:blobs'], options);
  renameSync(`${options.folder}/blobs/manifest.json`, `${options.folder}/blobs/${manifest.slice('sha256:'.length)}`);
  return manifest;
}

async function meaningOf(reference: string, options: FetchOptions): Promise<string | null> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(ASK_MS)]);
  return inspect(reference, { ...options, signal }).then(sha256, () => null);
}

async function inspect(reference: string, options: FetchOptions): Promise<Buffer> {
  return skopeo(['inspect', '--raw', ...certificates('--cert-dir', options), `docker://${reference}`], options);
}

function certificates(option: string, { certificates: folder }: FetchOptions): readonly string[] {
  return folder === undefined ? [] : [`${option}=${folder}`];
}

async function skopeo(argv: readonly string[], { folder, as, signal, onProgress }: FetchOptions): Promise<Buffer> {
  const program = toolAt('skopeo');
  return runTool({
    argv: [toolAt('setpriv', 'util-linux'), '--pdeathsig', 'KILL', program, '--tmpdir', '.', ...argv],
    cwd: folder,
    as,
    env: { HOME: '.', TMPDIR: '.', XDG_RUNTIME_DIR: '.' },
    signal,
    stdoutBytes: DOCUMENT_BYTES_MAX,
    onLine: onProgress,
  });
}

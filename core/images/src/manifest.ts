import { CaissonError } from '@caisson/contract';
import { z } from 'zod';

/** Manifests, indexes and configs are read whole; larger ones are no image's (distribution-spec: registries take 4 MiB). */
export const DOCUMENT_BYTES_MAX = 4 * 1_048_576;
/** As many as overlay file systems of other engines can stack. */
const LAYERS_MAX = 128;
const ENV_MAX = 256;
const TEXT_MAX = 65_536;
/** Of all labels together, as JSON: whoever is told of an image is told of them. */
const LABELS_BYTES_MAX = 1_048_576;

export const Digest: z.ZodType<string> = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits');

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const DescriptorFields = { mediaType: z.string().max(255), digest: Digest, size: z.int().min(0) };
const Platform = z.object({ os: z.string().max(64), architecture: z.string().max(64) });

const Index = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(z.object({ ...DescriptorFields, platform: Platform.nullish() })).max(1_000),
});

const Manifest = z.object({
  schemaVersion: z.literal(2),
  config: z.object(DescriptorFields),
  layers: z.array(z.object(DescriptorFields)).min(1).max(LAYERS_MAX),
});
export type Manifest = z.infer<typeof Manifest>;

/** `NAME=value`. */
const Variable = z.string().max(TEXT_MAX).regex(/^[^=\u0000]+=[^\u0000]*$/);
const Config = z.object({
  os: z.string().max(64),
  architecture: z.string().max(64),
  created: z.iso.datetime({ offset: true }).nullish(),
  config: z
    .object({
      Env: z.array(Variable).max(ENV_MAX).nullish(),
      Labels: z.record(z.string().max(255), z.string().max(TEXT_MAX)).refine((labels) => Object.keys(labels).length <= 256, 'has more than 256 names').nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(Digest).min(1).max(LAYERS_MAX) }),
});

/** What Caisson takes from an image's config. User, entry point, command, volumes and ports are not used. */
export interface ImageConfig {
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly createdMs: number;
  /** Digest of each layer before compression, lowest first. */
  readonly diffIds: readonly string[];
}

export type Compression = 'none' | 'gzip' | 'zstd';

const LAYER_KINDS: Readonly<Record<string, Compression>> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
};
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  if (bytes.length > DOCUMENT_BYTES_MAX) throw new CaissonError('IMAGE_INVALID', { detail: `a ${what} of ${bytes.length} bytes` });
  const parsed = schema.safeParse(jsonOf(bytes, what));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('IMAGE_INVALID', { detail: `its ${what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}` });
}

function jsonOf(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    throw new CaissonError('IMAGE_INVALID', { detail: `its ${what} is not JSON` });
  }
}

/** @throws CaissonError IMAGE_INVALID */
export function parseManifest(bytes: Uint8Array): Manifest {
  return parse(Manifest, bytes, 'manifest');
}

/** @throws CaissonError IMAGE_INVALID; IMAGE_UNAVAILABLE for another platform than `arch`, as in `process.arch`. */
export function parseConfig(bytes: Uint8Array, arch: string): ImageConfig {
  const { os, architecture, created, config, rootfs } = parse(Config, bytes, 'config');
  if (os !== 'linux' || architecture !== platformOf(arch)) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `it is for ${os} on ${architecture}` });
  const env = (config?.Env ?? []).filter((variable) => !OF_THE_ACCOUNT.includes(variable.slice(0, variable.indexOf('='))));
  if (env.reduce((sum, variable) => sum + variable.length, 0) > TEXT_MAX) throw new CaissonError('IMAGE_INVALID', { detail: `an environment of more than ${TEXT_MAX} characters` });
  if (Buffer.byteLength(JSON.stringify(config?.Labels ?? {})) > LABELS_BYTES_MAX) throw new CaissonError('IMAGE_INVALID', { detail: `labels of more than ${LABELS_BYTES_MAX} bytes` });
  const createdMs = Date.parse(created ?? '1970-01-01T00:00:00Z');
  return { env, labels: config?.Labels ?? {}, createdMs: Number.isFinite(createdMs) ? createdMs : 0, diffIds: rootfs.diff_ids };
}

/** Names that belong to the account of a sandbox, and not to an image: its user does not exist there. */
const OF_THE_ACCOUNT = ['HOME', 'LOGNAME', 'PWD', 'SHELL', 'TMPDIR', 'USER'];

/** How the bytes of a layer are compressed. @throws CaissonError IMAGE_INVALID for a kind that is not known. */
export function compressionOf({ mediaType }: Descriptor): Compression {
  const compression = Object.hasOwn(LAYER_KINDS, mediaType) ? LAYER_KINDS[mediaType] : undefined;
  if (compression === undefined) throw new CaissonError('IMAGE_INVALID', { detail: `a layer of kind ${mediaType}` });
  return compression;
}

/** Whether a document is an index rather than a manifest; some say so only by what they hold. */
export function isIndex(bytes: Uint8Array): boolean {
  const value = bytes.length > DOCUMENT_BYTES_MAX ? null : jsonOf(bytes, 'manifest');
  return typeof value === 'object' && value !== null && 'manifests' in value;
}

/**
 * The image of an index for this platform, or another index to look into.
 * @throws CaissonError IMAGE_UNAVAILABLE when none is for this platform, or several are and none is named.
 */
export function chooseFrom(bytes: Uint8Array, { arch, digest }: { readonly arch: string; readonly digest?: string | undefined }): Descriptor {
  const { manifests } = parse(Index, bytes, 'index');
  const fitting = manifests.filter(({ platform }) => platform === null || platform === undefined || (platform.os === 'linux' && platform.architecture === platformOf(arch)));
  const named = digest === undefined ? fitting : manifests.filter((each) => each.digest === digest);
  const different = [...new Map(named.map((each) => [each.digest, each])).values()];
  const [only, another] = different;
  if (only === undefined) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `nothing in it is ${digest ?? `for linux on ${platformOf(arch)}`}` });
  if (another !== undefined) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `it holds several images, so name one: ${different.map((each) => each.digest).join(', ')}` });
  return only;
}

function platformOf(arch: string): string {
  return ARCHITECTURES[arch] ?? arch;
}

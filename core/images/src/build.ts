import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { CaissonError } from '@caisson/contract';
import { digestOfFile, sha256 } from './blobs.ts';
import type { ImageDefinition } from './definition.ts';
import { runTool, toolAt } from './run-tool.ts';

export interface BuildOptions {
  /** Folder of the build; the blobs come into `blobs`. */
  readonly folder: string;
  readonly arch: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
  onProgress(line: string): void;
}

const SOURCES_BYTES_MAX = 1_048_576;
const DEBIAN_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
/** Manuals and translations, which programs do without; licences stay. */
const LEFT_OUT = ['path-exclude=/usr/share/man/*', 'path-exclude=/usr/share/doc/*', 'path-include=/usr/share/doc/*/copyright', 'path-exclude=/usr/share/locale/*'];
/** A build that is cut off is thrown away, so dpkg need not wait for the disk; what is kept is synced as a whole. */
const UNSAFE_IO = 'force-unsafe-io';

/**
 * Builds a Debian image with mmdebstrap(1), from the host's own apt sources and with the keys that the host trusts, and
 * returns the digest of its manifest. It runs in process and mount namespaces of its own, which end with it.
 * @throws CaissonError IMAGE_TOOL_MISSING; IMAGE_UNAVAILABLE in the words of mmdebstrap
 */
export async function buildBlobs(definition: ImageDefinition, options: BuildOptions): Promise<string> {
  const mmdebstrap = toolAt('mmdebstrap');
  const sources = await sourcesOf(definition.suite, options);
  const { folder, signal, onProgress } = options;
  mkdirSync(`${folder}/blobs`);
  await runTool({
    argv: [
      toolAt('unshare', 'util-linux'), '--mount', '--propagation', 'slave', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc',
      mmdebstrap, '--mode=root', '--variant=minbase', '--format=directory',
      '--aptopt=APT::Install-Recommends "false"', ...[UNSAFE_IO, ...LEFT_OUT].map((option) => `--dpkgopt=${option}`),
      ...(definition.packages.length === 0 ? [] : [`--include=${definition.packages.join(',')}`]),
      definition.suite, `${folder}/root`, ...sources,
    ],
    cwd: folder,
    signal,
    stdoutBytes: SOURCES_BYTES_MAX,
    onLine: onProgress,
  });
  onProgress('writing the layer');
  await runTool({
    // After the packages are configured, because some of them look for files that nobody needs later.
    argv: [
      toolAt('tar'), '--create', `--file=${folder}/layer.tar`, `--directory=${folder}/root`, '--numeric-owner', '--sort=name', '--anchored',
      ...(definition.without ?? []).map((path) => `--exclude=.${path}`), '.',
    ],
    cwd: folder,
    signal,
    stdoutBytes: 0,
    onLine: onProgress,
  });
  await rm(`${folder}/root`, { recursive: true });
  return writeBlobs(definition, options);
}

/** The Debian archives of the host that have this release, as lines of sources.list(5). */
async function sourcesOf(suite: string, { folder, signal }: BuildOptions): Promise<readonly string[]> {
  const fields = ['$(ORIGIN)', '$(CODENAME)', '$(REPO_URI)', '$(RELEASE)', '$(COMPONENT)', '$(SIGNED_BY)'].join('|');
  const listed = await runTool({
    argv: [toolAt('apt-get', 'apt'), 'indextargets', '--format', fields, 'Created-By: Packages'],
    cwd: folder, signal, stdoutBytes: SOURCES_BYTES_MAX, onLine: () => undefined,
  });
  const lines = listed.toString('utf8').split('\n').flatMap((line) => {
    const [origin, codename, uri, release, component, key] = line.split('|');
    if (origin !== 'Debian' || (codename !== suite && codename?.startsWith(`${suite}-`) !== true)) return [];
    const signedBy = key === undefined || !key.startsWith('/') ? '' : `[signed-by=${key}] `;
    return [`deb ${signedBy}${uri} ${release} ${component}`];
  });
  if (lines.length === 0) throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `no apt source of this host has Debian ${suite}; run apt-get update, or add one` });
  return [...new Set(lines)];
}

/** The tar as the one layer of an OCI image (image-spec, config.md and manifest.md). */
async function writeBlobs(definition: ImageDefinition, { folder, arch, now }: BuildOptions): Promise<string> {
  const layer = await digestOfFile(`${folder}/layer.tar`);
  const size = statSync(`${folder}/layer.tar`).size;
  renameSync(`${folder}/layer.tar`, `${folder}/blobs/${hexOf(layer)}`);
  const created = new Date(now()).toISOString();
  const config = {
    created,
    architecture: DEBIAN_ARCHITECTURES[arch] ?? arch,
    os: 'linux',
    config: {
      Env: Object.entries(definition.env ?? {}).map(([name, value]) => `${name}=${value}`),
      Labels: { 'org.opencontainers.image.title': definition.name, 'org.opencontainers.image.description': definition.why },
    },
    rootfs: { type: 'layers', diff_ids: [layer] },
    history: [{ created, created_by: `mmdebstrap ${definition.suite} ${definition.packages.join(' ')}` }],
  };
  const configured = put(folder, config);
  return put(folder, {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...configured },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size }],
  }).digest;
}

function put(folder: string, document: unknown): { readonly digest: string; readonly size: number } {
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = sha256(bytes);
  rmSync(`${folder}/blobs/${hexOf(digest)}`, { force: true });
  writeFileSync(`${folder}/blobs/${hexOf(digest)}`, bytes);
  return { digest, size: bytes.length };
}

const hexOf = (digest: string): string => digest.slice('sha256:'.length);

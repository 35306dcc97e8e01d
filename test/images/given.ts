import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { gzipSync } from 'node:zlib';
import { openImages, type ImageInfo, type ImagesOptions, type ImageStore, type ImportOptions } from '@caisson/images';

/** A member of a tar as a test writes it: nothing is checked, because an attacker's writer checks nothing either. */
export interface Member {
  readonly name: string;
  /** Type flag of ustar. Default: a file, or a folder where the name ends in a slash. */
  readonly type?: string;
  readonly body?: string | Buffer;
  readonly target?: string;
  readonly mode?: number;
  /** Size in the header, where it is not that of the body. */
  readonly size?: number;
  readonly mtime?: number;
  readonly uid?: number;
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`;
}

export function tarMember({ name, type = name.endsWith('/') ? '5' : '0', body = '', target = '', mode = type === '5' ? 0o755 : 0o644, size, mtime = 1_700_000_000, uid = 0 }: Member): Buffer {
  const content = Buffer.from(body);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, 'latin1');
  header.write(octal(mode, 7) + octal(uid, 7) + octal(uid, 7) + octal(size ?? content.length, 11) + octal(mtime, 11), 100, 'latin1');
  header.write(' '.repeat(8) + type, 148, 'latin1');
  header.write(target, 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(octal(header.reduce((sum, byte) => sum + byte, 0), 6), 148, 'latin1');
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

export function tar(members: readonly (Member | Buffer)[]): Buffer {
  return Buffer.concat([...members.map((member) => (Buffer.isBuffer(member) ? member : tarMember(member))), Buffer.alloc(1024)]);
}

export function pax(records: Readonly<Record<string, string>>, type = 'x'): Buffer {
  const body = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (rest + `${length}`.length !== length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return tarMember({ name: 'pax', type, body: body.join('') });
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export interface LayerSpec {
  readonly tar: Buffer;
  /** What is stored. Default: the tar itself. */
  readonly stored?: Buffer;
  readonly mediaType?: string;
}

export interface LayoutSpec {
  readonly layers: readonly LayerSpec[];
  readonly config?: object;
  /** Changes what would be written, as an attacker would. */
  readonly manifest?: (manifest: Record<string, unknown>) => object;
  readonly configOf?: (config: Record<string, unknown>) => object;
}

export const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const ARCH = process.arch === 'x64' ? 'amd64' : 'arm64';

export const plain = (members: readonly (Member | Buffer)[]): LayerSpec => ({ tar: tar(members) });
export const zipped = (members: readonly (Member | Buffer)[]): LayerSpec => {
  const bytes = tar(members);
  return { tar: bytes, stored: gzipSync(bytes), mediaType: `${LAYER}+gzip` };
};

/** Writes an image in the OCI layout and returns the digest of its manifest. */
export function writeLayout(dir: string, { layers, config = {}, manifest = (same) => same, configOf = (same) => same }: LayoutSpec): string {
  mkdirSync(`${dir}/blobs/sha256`, { recursive: true });
  const put = (bytes: Buffer): { digest: string; size: number } => {
    const digest = sha256(bytes);
    writeFileSync(`${dir}/blobs/sha256/${digest.slice(7)}`, bytes);
    return { digest, size: bytes.length };
  };
  const document = (value: object): { digest: string; size: number } => put(Buffer.from(JSON.stringify(value)));
  const described = layers.map(({ tar: bytes, stored = bytes, mediaType = LAYER }) => ({ mediaType, ...put(stored) }));
  const configured = document(configOf({ architecture: ARCH, os: 'linux', config, rootfs: { type: 'layers', diff_ids: layers.map((layer) => sha256(layer.tar)) } }));
  const written = document(manifest({
    schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...configured }, layers: described,
  }));
  writeFileSync(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(`${dir}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', ...written }] }));
  return written.digest;
}

export const BUSYBOX = '/bin/busybox';
const APPLETS = ['cat', 'cut', 'echo', 'env', 'find', 'grep', 'head', 'id', 'ls', 'sh', 'sleep', 'stat', 'touch', 'true', 'wc', 'readlink'];

/** A small root file system: a static shell with its usual programs. */
export function busybox(): readonly Member[] {
  return [
    { name: './' }, { name: './bin/' }, { name: './etc/' }, { name: './tmp/', mode: 0o1777 },
    { name: './bin/busybox', body: readFileSync(BUSYBOX), mode: 0o755 },
    ...APPLETS.map((name): Member => ({ name: `./bin/${name}`, type: '2', target: 'busybox' })),
    { name: './etc/passwd', body: 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' },
  ];
}

/** A program of the host with the libraries that it loads. */
export function withLibraries(path: string): readonly Member[] {
  const listed = execFileSync('/usr/bin/ldd', [path], { encoding: 'utf8' });
  const libraries = [...listed.matchAll(/(\/\S+)/g)].map(([, library]) => library ?? '');
  return [path, ...libraries].map((each) => ({ name: `.${each}`, body: readFileSync(each), mode: 0o755 }));
}

/** A user that nothing else on this host runs as. */
const UNPACKER = { uid: 1_999_131_071, gid: 1_999_131_071 };
export const IS_ROOT = process.getuid?.() === 0;

export interface Bench extends AsyncDisposable {
  readonly dir: string;
  readonly store: ImageStore;
  readonly lines: string[];
  layout(spec: LayoutSpec, name?: string): Promise<ImageInfo>;
  archive(bytes: Buffer): Promise<ImageInfo>;
}

/** A store of its own in a folder of its own. */
export async function openBench(options: Partial<ImagesOptions> = {}, above = tmpdir()): Promise<Bench> {
  const dir = mkdtempSync(`${above}/caisson-images-`);
  chmodSync(dir, 0o711); // who fetches must be able to pass
  const store = await openImages({ dir: `${dir}/images`, ...(IS_ROOT ? { as: UNPACKER } : {}), ...options });
  const lines: string[] = [];
  const how = (): Omit<ImportOptions, 'name'> => ({ onProgress: (line) => void lines.push(line), signal: AbortSignal.timeout(60_000) });
  return {
    dir, store, lines,
    layout(spec, name) {
      const path = mkdtempSync(`${dir}/layout-`);
      writeLayout(path, spec);
      return store.import({ kind: 'layout', path }, { ...how(), ...(name === undefined ? {} : { name }) });
    },
    archive(bytes) {
      const path = `${mkdtempSync(`${dir}/archive-`)}/image.tar`;
      writeFileSync(path, bytes, { mode: 0o600 });
      return store.import({ kind: 'archive', path }, how());
    },
    async [Symbol.asyncDispose]() {
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { TAR_END, tarHeader, tarPadding } from '../core/tar/src/write.ts';

/** A time that is the same in every build, so that the same source makes the same package. */
const MADE_S = 499_162_500;

/** Builds `@caisson/sdk` and packs it as npm does; the answer is the path of the archive. */
export function packSdk(root: string): string {
  const source = join(root, 'sdk/typescript');
  const out = join(root, 'build/pack');
  const staging = join(out, `sdk-${process.pid}`);
  mkdirSync(out, { recursive: true });
  try {
    const { status, stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(source, 'tsconfig.build.json'), '--outDir', join(staging, 'dist')], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`tsc ended with ${status}\n${stdout}`);
    const manifest = publishedManifest(readFileSync(join(source, 'package.json'), 'utf8'));
    writeFileSync(join(staging, 'package.json'), manifest.text);
    writeFileSync(join(staging, 'README.md'), readFileSync(join(root, 'docs/sdk-typescript.md')));
    writeFileSync(join(staging, 'LICENSE'), readFileSync(join(root, 'LICENSE')));
    const archive = join(out, `caisson-sdk-${manifest.version}.tgz`);
    writeFileSync(`${archive}.${process.pid}`, gzipSync(tarOf(staging), { level: 9 }));
    renameSync(`${archive}.${process.pid}`, archive);
    return archive;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** The manifest of the room, with its doors on what was built. */
function publishedManifest(text: string): { readonly text: string; readonly version: string } {
  const manifest = JSON.parse(text) as Readonly<Record<string, unknown>> & { readonly version: string };
  const exports = { '.': { types: './dist/index.d.ts', default: './dist/index.js' } };
  return { text: `${JSON.stringify({ ...manifest, exports }, null, 2)}\n`, version: manifest.version };
}

function tarOf(staging: string): Buffer {
  const names = readdirSync(staging, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(staging.length + 1));
  const members = names.toSorted().map((name) => {
    const content = readFileSync(join(staging, name));
    const header = tarHeader({ name: Buffer.from(`package/${name}`), kind: 'file', mode: 0o644, mtimeS: MADE_S, sizeBytes: content.length });
    return Buffer.concat([header, content, tarPadding(content.length)]);
  });
  return Buffer.concat([...members, TAR_END]);
}

import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { encodeBundle, formatCheckpoint, formatVerifierKey, generateKey, leafHash, rootOfLeaves, signerOf, signNote, TILE_WIDTH, tilePath, tilesBetween, type PrivateKey } from '@caisson/tlog';

/** A log as a scribe publishes it: tiles first, then the head in one step. */
export interface Log extends Disposable {
  readonly dir: string;
  /** Where an archiver of it keeps what it keeps. */
  readonly archive: string;
  readonly key: PrivateKey;
  size(): number;
  /** Grows to so many entries and publishes that head. */
  grow(size: number): Promise<void>;
  /** Path → bytes of every static resource that a store should hold for the heads that were published, and the present one. */
  published(): ReadonlyMap<string, Buffer>;
}

export interface LogOptions {
  readonly key?: PrivateKey;
  /** Text in every entry; two logs of other words are two histories. */
  readonly word?: string;
  readonly dir?: string;
}

export const ORIGIN = 'caisson.test/log';

export function makeLog({ key = generateKey(ORIGIN, 0x01), word = 'entry', dir: given }: LogOptions = {}): Log {
  const dir = given ?? mkdtempSync(`${tmpdir()}/caisson-log-`);
  const archive = `${dir}/archive`;
  mkdirSync(archive, { recursive: true });
  const resources = new Map<string, Buffer>();
  const entries: Buffer[] = [];
  const nodes: Buffer[][] = [];
  const signer = signerOf(key);
  writeFileSync(`${dir}/log.vkey`, `${formatVerifierKey(signer.publicKey)}\n`);
  let size = 0;
  return {
    dir,
    archive,
    key,
    size: () => size,
    async grow(to) {
      for (let at = entries.length; at < to; at += 1) {
        entries.push(Buffer.from(`${word} ${at}`));
        addLeaf(nodes, leafHash(entries[at] as Buffer));
      }
      for (const tile of tilesBetween(size, to)) {
        const { level, index, width } = tile;
        const first = index * TILE_WIDTH;
        const bytes = level === 'entries' ? encodeBundle(entries.slice(first, first + width)) : Buffer.concat((nodes[level] as Buffer[]).slice(first, first + width));
        resources.set(tilePath(tile), bytes);
        put(`${dir}/${tilePath(tile)}`, bytes);
      }
      const root = rootOfLeaves(entries.map(leafHash));
      const checkpoint = Buffer.from(await signNote(formatCheckpoint({ origin: ORIGIN, size: to, root }), [signer]));
      put(`${dir}/checkpoint`, checkpoint);
      resources.set('checkpoint', checkpoint);
      size = to;
    },
    published: () => resources,
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

function put(path: string, bytes: Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, bytes);
  renameSync(`${path}.new`, path);
}

/** Roots of full tiles are the hashes of the level above. */
function addLeaf(nodes: Buffer[][], leaf: Buffer): void {
  let hash = leaf;
  for (let level = 0; ; level += 1) {
    const row = (nodes[level] ??= []);
    row.push(hash);
    if (row.length % TILE_WIDTH !== 0) return;
    hash = rootOfLeaves(row.slice(-TILE_WIDTH));
  }
}

import { chmodSync, linkSync, mkdirSync, renameSync, symlinkSync, utimesSync } from 'node:fs';
import { invalid } from './tar.ts';
import type { Folder, Node } from './tree.ts';

/** Latest time that every file system of Linux can hold. */
const MTIME_S_MAX = 2_147_483_647;

/** A path of bytes, which a string could not hold. */
const bytesOf = (path: string): Buffer => Buffer.from(path, 'latin1');

/**
 * Writes a tree under a folder that is new and empty. Symbolic links are made when everything else is there, so no path
 * that is written to can lead through one; modes of folders come last, because one may forbid writing in it.
 * @throws CaissonError IMAGE_INVALID for names that the file system refuses
 */
export function materialise(root: Folder, { at, contents }: { readonly at: string; readonly contents: string }): void {
  const links: { readonly path: string; readonly target: string }[] = [];
  const folders: { readonly path: string; readonly mode: number }[] = [];
  const written = new Map<Node, string>();
  const waiting: { readonly folder: Folder; readonly path: string }[] = [{ folder: root, path: at }];
  try {
    mkdirSync(bytesOf(at), 0o700);
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { folder, path } = next;
      folders.push({ path, mode: folder.mode });
      for (const [name, node] of folder.children) writeNode(node, `${path}/${name}`);
    }
    for (const { path, target } of links) symlinkSync(bytesOf(target), bytesOf(path));
    for (const { path, mode } of folders.toReversed()) chmodSync(bytesOf(path), mode);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENAMETOOLONG' || code === 'EINVAL' || code === 'EMLINK') throw invalid(`a name that cannot be written (${code})`);
    throw error;
  }

  function writeNode(node: Node, path: string): void {
    if (node.kind === 'link') return void links.push({ path, target: node.target });
    if (node.kind === 'file') return writeFile(node, path);
    mkdirSync(bytesOf(path), 0o700);
    waiting.push({ folder: node, path });
  }

  function writeFile(file: Extract<Node, { kind: 'file' }>, path: string): void {
    const first = written.get(file);
    if (first !== undefined) return linkSync(bytesOf(first), bytesOf(path));
    renameSync(bytesOf(`${contents}/${file.content}`), bytesOf(path));
    const mtimeS = Math.min(file.mtimeS, MTIME_S_MAX);
    utimesSync(bytesOf(path), mtimeS, mtimeS);
    chmodSync(bytesOf(path), file.mode);
    written.set(file, path);
  }
}

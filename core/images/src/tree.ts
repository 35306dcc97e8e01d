import { invalid } from './tar.ts';

/**
 * The file system of an image, as data. Layers are applied here, where a path is a walk through maps: no name, link or
 * whiteout of a layer is ever handed to the kernel before the whole tree is known, and none can leave the tree.
 */
export interface Folder {
  readonly kind: 'folder';
  mode: number;
  readonly children: Map<string, Node>;
}

interface File {
  readonly kind: 'file';
  readonly mode: number;
  readonly mtimeS: number;
  readonly sizeBytes: number;
  /** Number of the content where contents are kept. One file under several names is one object. */
  readonly content: number;
}

interface SymbolicLink {
  readonly kind: 'link';
  readonly target: string;
}

export type Node = Folder | File | SymbolicLink;

/** An entry of a layer, without its content. */
export interface LayerEntry {
  readonly name: string;
  readonly kind: 'file' | 'hard-link' | 'symbolic-link' | 'folder';
  readonly mode: number;
  readonly mtimeS: number;
  readonly sizeBytes: number;
  readonly target: string;
  readonly content: number;
}

/** Symbolic links followed in one path, as in path_resolution(7). */
const HOPS_MAX = 40;
const NAME_BYTES_MAX = 255;
const TARGET_BYTES_MAX = 4_095;
/** Leaves room below PATH_MAX for the place where the tree is written. */
const PATH_BYTES_MAX = 3_072;
const FOLDER_MODE = 0o755;
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** Makes a folder that no entry names and a path leads through. It is where such folders are counted. */
type ImpliedFolder = () => Folder;

export function emptyTree(): Folder {
  return { kind: 'folder', mode: FOLDER_MODE, children: new Map() };
}

/**
 * Applies one layer (image-spec, layer.md): its whiteouts to what lies below first, whatever their place in the
 * archive, then its entries in order.
 * @param implied may throw, and the layer goes no further
 * @throws CaissonError IMAGE_INVALID
 */
export function applyLayer(root: Folder, entries: readonly LayerEntry[], implied: ImpliedFolder = emptyTree): void {
  const parsed = entries.map((entry) => ({ entry, path: componentsOf(entry.name) }));
  for (const { path } of parsed) if (isWhiteout(path)) remove(root, path);
  for (const { entry, path } of parsed) if (!isWhiteout(path)) put(root, entry, path, implied);
}

/** Names of a path from the root of the image; a leading slash is that root. */
function componentsOf(name: string): readonly string[] {
  if (name.length > PATH_BYTES_MAX) throw invalid(`a path of ${name.length} bytes`);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(`a path that goes up: ${name}`);
  if (parts.some((part) => part.length > NAME_BYTES_MAX)) throw invalid('a name of more than 255 bytes');
  return parts;
}

function isWhiteout(path: readonly string[]): boolean {
  const at = path.findIndex((part) => part.startsWith(WHITEOUT));
  if (at !== -1 && at < path.length - 1) throw invalid(`a whiteout with something below it: ${path.join('/')}`);
  return at !== -1;
}

function remove(root: Folder, path: readonly string[]): void {
  const last = path.at(-1) ?? '';
  const hidden = last.slice(WHITEOUT.length);
  if (last !== OPAQUE && (hidden === '' || hidden === '.' || hidden === '..' || hidden.startsWith(WHITEOUT))) throw invalid(`a whiteout of nothing: ${last}`);
  const parent = folderAt(root, path.slice(0, -1), null);
  if (parent === null) return;
  if (last === OPAQUE) parent.children.clear();
  else parent.children.delete(hidden);
}

function put(root: Folder, entry: LayerEntry, path: readonly string[], implied: ImpliedFolder): void {
  const last = path.at(-1);
  if (last === undefined) {
    if (entry.kind !== 'folder') throw invalid('the root of a layer is not a folder');
    root.mode = modeOf(entry);
    return;
  }
  const parent = folderAt(root, path.slice(0, -1), implied);
  if (parent === null) throw invalid(`no folder for ${entry.name}`);
  if (entry.kind !== 'folder') {
    parent.children.set(last, nodeOf(root, entry));
    return;
  }
  const present = parent.children.get(last);
  if (present?.kind === 'folder') present.mode = modeOf(entry);
  else parent.children.set(last, { kind: 'folder', mode: modeOf(entry), children: new Map() });
}

/** Bits that give the rights of an owner to whoever runs a file are dropped: nobody in a sandbox could use them. */
function modeOf({ mode, kind }: LayerEntry): number {
  return kind === 'folder' ? mode & 0o1777 : mode & 0o777;
}

function nodeOf(root: Folder, entry: LayerEntry): Node {
  const { target } = entry;
  switch (entry.kind) {
    case 'file': return { kind: 'file', mode: modeOf(entry), mtimeS: entry.mtimeS, sizeBytes: entry.sizeBytes, content: entry.content };
    case 'symbolic-link':
      if (target === '' || target.length > TARGET_BYTES_MAX) throw invalid(`a symbolic link to ${target.length} bytes`);
      return { kind: 'link', target };
    case 'hard-link': return linked(root, target);
    case 'folder': return emptyTree();
  }
}

function linked(root: Folder, target: string): Node {
  const path = componentsOf(target);
  const found = folderAt(root, path.slice(0, -1), null)?.children.get(path.at(-1) ?? '');
  if (found === undefined) throw invalid(`a hard link to ${target}, which is not there`);
  if (found.kind === 'folder') throw invalid(`a hard link to ${target}, which is a folder`);
  return found;
}

function childOf(folder: Folder, name: string, make: ImpliedFolder | null): Node | null {
  return folder.children.get(name) ?? make?.() ?? null;
}

/** The folder that a path leads to inside the tree, through links; what is missing is made by `make`, or is null. */
function folderAt(root: Folder, path: readonly string[], make: ImpliedFolder | null): Folder | null {
  const stack: Folder[] = [root];
  const left = path.toReversed();
  for (let hops = 0; ; ) {
    const part = left.pop();
    const here = stack.at(-1) ?? root;
    if (part === undefined) return here;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (stack.length > 1) stack.pop(); // above the root is the root, as in any root directory
      continue;
    }
    const next = childOf(here, part, make);
    if (next === null) return null;
    if (next.kind === 'file') throw invalid(`${part} is a file, and something lies below it`);
    if (next.kind === 'folder') {
      here.children.set(part, next);
      stack.push(next);
      continue;
    }
    if (++hops > HOPS_MAX) throw invalid('symbolic links that lead in a circle');
    if (next.target.startsWith('/')) stack.length = 1;
    left.push(...next.target.split('/').toReversed());
  }
}

/** The content of a file of the tree by its path, through links; null where there is none. */
export function fileAt(root: Folder, path: string): File | null {
  let left = path.split('/').filter((part) => part !== '');
  for (let hops = 0; hops <= HOPS_MAX; hops++) {
    const folder = folderAt(root, left.slice(0, -1), null);
    const found = folder?.children.get(left.at(-1) ?? '');
    if (found?.kind === 'file') return found;
    if (found?.kind !== 'link') return null;
    left = found.target.startsWith('/') ? found.target.split('/') : [...left.slice(0, -1), ...found.target.split('/')];
  }
  return null;
}

/** Number of names in the tree, and the bytes of its files, each counted once. */
export function measure(root: Folder): { readonly entries: number; readonly bytes: number } {
  const seen = new Set<Node>();
  let entries = 0;
  let bytes = 0;
  for (const waiting: Folder[] = [root]; ; ) {
    const folder = waiting.pop();
    if (folder === undefined) return { entries, bytes };
    for (const node of folder.children.values()) {
      entries++;
      if (node.kind === 'folder') waiting.push(node);
      if (node.kind === 'file' && !seen.has(node)) bytes += node.sizeBytes;
      seen.add(node);
    }
  }
}

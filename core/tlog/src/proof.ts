import { nodeHash } from './hash.ts';

export interface Inclusion {
  readonly index: number;
  readonly size: number;
  readonly leaf: Buffer;
  readonly root: Buffer;
  readonly proof: readonly Buffer[];
}

/** Whether the leaf stands at the index in the tree of that root (RFC 9162 §2.1.3.2). */
export function provesInclusion({ index, size, leaf, root, proof }: Inclusion): boolean {
  if (!isCount(index) || !isCount(size) || index >= size) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      [fn, sn] = atOddOrZero(fn, sn);
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && hash.equals(root);
}

export interface Consistency {
  readonly from: number;
  readonly fromRoot: Buffer;
  readonly to: number;
  readonly toRoot: Buffer;
  readonly proof: readonly Buffer[];
}

/** Whether the tree of `from` entries is the beginning of the one of `to` (RFC 9162 §2.1.4.2). The empty tree begins every tree. */
export function provesConsistency({ from, fromRoot, to, toRoot, proof }: Consistency): boolean {
  if (!isCount(from) || !isCount(to) || from > to) return false;
  if (from === 0 || from === to) return proof.length === 0 && (from < to || fromRoot.equals(toRoot));
  let [fn, sn] = [from - 1, to - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  const path = [...proof];
  // Where `from` is a power of two its root is a node of the larger tree, and the proof leaves it out.
  const first = fn === 0 ? fromRoot : path.shift();
  if (first === undefined) return false;
  const roots = climb({ fn, sn, first, path });
  return roots !== null && roots.from.equals(fromRoot) && roots.to.equals(toRoot);
}

/** Both roots by the steps of RFC 9162 §2.1.4.2; null: the path is too long or too short. */
function climb({ path, first, ...start }: { readonly fn: number; readonly sn: number; readonly first: Buffer; readonly path: readonly Buffer[] }): { readonly from: Buffer; readonly to: Buffer } | null {
  let [fn, sn] = [start.fn, start.sn];
  let [from, to] = [first, first];
  for (const hash of path) {
    if (sn === 0) return null;
    if (fn % 2 === 1 || fn === sn) {
      [from, to] = [nodeHash(hash, from), nodeHash(hash, to)];
      [fn, sn] = atOddOrZero(fn, sn);
    } else {
      to = nodeHash(to, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 ? { from, to } : null;
}

/** Both shifted right until the first is odd or 0. */
function atOddOrZero(fn: number, sn: number): readonly [number, number] {
  return fn % 2 === 1 || fn === 0 ? [fn, sn] : atOddOrZero(half(fn), half(sn));
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function half(count: number): number {
  return Math.floor(count / 2);
}

import { EMPTY_ROOT, nodeHash } from './hash.ts';

/** All of a tree that its growth needs: its size and the roots of its perfect subtrees, the largest first. */
export interface Edge {
  readonly size: number;
  /** As many as the size has ones in binary. */
  readonly hashes: readonly Buffer[];
}

export const EMPTY_EDGE: Edge = { size: 0, hashes: [] };

/** The tree with one more leaf. */
export function grow({ size, hashes }: Edge, leaf: Buffer): Edge {
  const next = [...hashes];
  let right = leaf;
  for (let rest = size; rest % 2 === 1; rest = (rest - 1) / 2) right = nodeHash(next.pop() as Buffer, right);
  next.push(right);
  return { size: size + 1, hashes: next };
}

/** Root of the tree (RFC 6962 §2.1). */
export function rootOf({ hashes }: Edge): Buffer {
  return hashes.length === 0 ? EMPTY_ROOT : hashes.reduceRight((right, left) => nodeHash(left, right));
}

/** Root of a tree of these leaves. */
export function rootOfLeaves(leaves: Iterable<Buffer>): Buffer {
  let edge = EMPTY_EDGE;
  for (const leaf of leaves) edge = grow(edge, leaf);
  return rootOf(edge);
}

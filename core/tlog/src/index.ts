export { cosign, cosignedAtMs, formatCheckpoint, openCheckpoint, parseCheckpoint, type Checkpoint, type SignedCheckpoint } from './checkpoint.ts';
export { EMPTY_EDGE, grow, rootOf, rootOfLeaves, type Edge } from './edge.ts';
export { EMPTY_ROOT, HASH_BYTES, leafHash, nodeHash, sha256 } from './hash.ts';
export {
  formatSignerKey, formatVerifierKey, generateKey, isKeyName, parseSignerKey, parseVerifierKey, publicKey, SIGNATURE_TYPE, signerOf, verifies,
  type PrivateKey, type PublicKey, type SignatureType, type Signer,
} from './key.ts';
export { formatNote, formatSignature, openNote, parseNote, parseSignature, signNote, type Note, type NoteSignature, type OpenNote, type Refusal } from './note.ts';
export { formatProof, parseProof, type ProofFile } from './proof-file.ts';
export { provesConsistency, provesInclusion, type Consistency, type Inclusion } from './proof.ts';
export { consistencyProof, edgeAt, inclusionProof, readBundle, readTile, rootAt, TileError, tileTree, type Fetch, type TileTree } from './read.ts';
export { decodeBundle, encodeBundle, MAX_ENTRY_BYTES, parseTilePath, partialsOf, TILE_WIDTH, tilePath, tilesBetween, widthIn, type Tile } from './tile.ts';

export { readEscrow, writeEscrow, type EscrowChoice, type EscrowedKeys } from './escrow.ts';
export { fileWrap } from './file-wrap.ts';
export { USES_RESERVED } from './key-file.ts';
export { placeOf, type KeyPlace } from './key-id.ts';
export { MAX_TEXT_BYTES, pad, unpad } from './padding.ts';
export { Keyring, openKeyring, type Erasure, type KeyringOptions, type Unsealed } from './ring.ts';
export { NONCE_BYTES, seal, unseal, type About, type Opened, type SealWith } from './seal.ts';
export { DEFAULT_SEGMENT, segmentOf, type SegmentRule } from './segment.ts';
export { wrapByKey, type KeyWrap } from './wrap.ts';

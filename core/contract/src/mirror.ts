import { MIB } from './limits.ts';

/** Where a sandbox reads the records of its own calls and execs, where it asked for that. The log is the record; this is a copy. */
export const MIRROR_NAME = 'audit.jsonl';
export const MIRROR_PATH = `/workspace/${MIRROR_NAME}`;

/** Bytes of one mirror at most, the last line included, which says that it is full: some 15,000 records. It lies in memory. */
export const MIRROR_BYTES = 4 * MIB;

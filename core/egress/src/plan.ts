/** Addresses and ports inside the gate's namespace: the same as in native/gate/gate.h and profiles/egress/gate.nft. */

/** Names stand behind addresses of 198.18.0.0/16 (RFC 2544: not on the Internet), the first 256 of which are the gate's own. */
const FIRST_NAME = 256;
/** Addresses that names may have, and names of one sandbox: more than a program has use for, and few enough to lie apart. */
export const PLACES = 65_536 - FIRST_NAME;
export const NAMES_MOST = 4_096;

/** The address of a place, counted from 0. */
export function standInAddress(place: number): string {
  const bits = FIRST_NAME + place;
  return `198.18.${bits >> 8}.${bits & 255}`;
}

/** Where a sandbox reads what was refused to it: at the HTTP proxy. */
export const DENIALS_URL = 'http://198.18.0.1:3128/denials';

/** Index of the link of the first sandbox address, 198.19.0.0, in the gate's namespace (native/gate/link.c). */
const FIRST_LINK_INDEX = 1_000;

/** The address of the sandbox whose link has this index. */
export function linkAddress(index: number): string {
  const slot = index - FIRST_LINK_INDEX;
  return `198.19.${slot >> 8}.${slot & 255}`;
}

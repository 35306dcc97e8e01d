import { NAMES_MOST, PLACES, standInAddress } from './plan.ts';

/**
 * The names that one sandbox has been told an address of. An address stands for one name as long as the sandbox lives, so
 * that what it has remembered never means another host. Where a name stands follows from the name: a gate that is started
 * anew gives it the same place, save that of two names that would share one the first that is asked for has it.
 */
export class Names {
  readonly #addresses = new Map<string, string>();
  readonly #hosts = new Map<string, string>();

  /** The address that stands for a host; null when the sandbox has as many names as it gets. */
  addressOf(host: string): string | null {
    const known = this.#addresses.get(host);
    if (known !== undefined) return known;
    if (this.#addresses.size >= NAMES_MOST) return null;
    let place = hash(host) % PLACES;
    while (this.#hosts.has(standInAddress(place))) place = (place + 1) % PLACES;
    const address = standInAddress(place);
    this.#addresses.set(host, address);
    this.#hosts.set(address, host);
    return address;
  }

  hostAt(address: string): string | null {
    return this.#hosts.get(address) ?? null;
  }
}

/** FNV-1a, 32 bits. Whoever looks for names that collide finds them, and has only their own names further apart. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  return state >>> 0;
}

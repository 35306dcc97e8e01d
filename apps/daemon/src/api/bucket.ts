/** How many requests a token may make. */
export interface Rate {
  readonly perSecond: number;
  /** Requests at once after a rest. */
  readonly burst: number;
}

/** A token bucket as of a moment. */
export interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

export type Taken = { readonly bucket: Bucket; readonly waitMs: 0 } | { readonly bucket: Bucket; readonly waitMs: number };

/** Takes one from the bucket, or says how long until there is one. A clock that goes back adds nothing. */
export function take(bucket: Bucket | undefined, nowMs: number, { perSecond, burst }: Rate): Taken {
  const before = bucket ?? { left: burst, atMs: nowMs };
  const elapsedMs = Math.max(0, nowMs - before.atMs);
  const left = Math.min(burst, before.left + (elapsedMs * perSecond) / 1000);
  if (left >= 1) return { bucket: { left: left - 1, atMs: nowMs }, waitMs: 0 };
  return { bucket: { left, atMs: nowMs }, waitMs: Math.ceil(((1 - left) * 1000) / perSecond) };
}

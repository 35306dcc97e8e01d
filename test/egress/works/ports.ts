import { createCipheriv, createHash } from 'node:crypto';

/** What the servers of the test listen on. */
export const PORTS = { ssh: 22, tls: 443, postgres: 5432, digest: 7001, blob: 7002, serverFirst: 7003, echo: 7004, webSocket: 8001 } as const;

export const BLOB_BYTES = 100_000_000;
const CHUNK = Buffer.alloc(100_000);

/** The same bytes each time, and no two chunks alike: a piece that is lost, doubled or moved changes the digest. */
export function* blobOf(): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  for (let sent = 0; sent < BLOB_BYTES; sent += CHUNK.length) yield cipher.update(CHUNK);
}

export function blobSha256(): string {
  const hash = createHash('sha256');
  for (const chunk of blobOf()) hash.update(chunk);
  return hash.digest('hex');
}

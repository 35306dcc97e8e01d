/** Where an image comes from. No variant takes a tag: a name that can change its meaning is not a source. */
export type ImageSource =
  /** A folder in the OCI image layout. `digest`: which image of it; needed when it holds several for this platform. */
  | { readonly kind: 'layout'; readonly path: string; readonly digest?: string }
  /** A tar of such a folder, or one that `docker save` made; plain or gzip. */
  | { readonly kind: 'archive'; readonly path: string; readonly digest?: string }
  /** `registry.example/name@sha256:…`, the digest of a manifest or of an index. */
  | { readonly kind: 'registry'; readonly reference: string };

/** An image that this host holds, unpacked. */
export interface ImageInfo {
  /** Digest of the manifest for this platform: what a sandbox names. */
  readonly digest: string;
  /** The name on this host that it was given last, or null. */
  readonly name: string | null;
  /** Every name on this host, the last one first. The owner of the host gave them and can give them to another image. */
  readonly names: readonly string[];
  /** When its builder says that it was made; 0 where it does not say. */
  readonly createdMs: number;
  readonly importedMs: number;
  /** Bytes of its files, unpacked. */
  readonly sizeBytes: number;
  /** `NAME=value` each, from its config; without the names that belong to the account of a sandbox, such as HOME. */
  readonly env: readonly string[];
  /** `layout`, `oci-archive`, `docker-archive`, a registry reference, or `built NAME`. */
  readonly source: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The most that an image may come to; beyond it the import ends with IMAGE_TOO_LARGE and leaves nothing. */
export interface ImageMaximum {
  /** Bytes of all files of all layers, unpacked. Default 16 GiB. */
  readonly bytes: number;
  /** Entries of all layers. Default 1 000 000. */
  readonly entries: number;
}

export const DEFAULT_MAXIMUM: ImageMaximum = { bytes: 16 * 2 ** 30, entries: 1_000_000 };

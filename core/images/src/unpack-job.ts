import { isErrorCode, type Problem } from '@caisson/contract';
import { z } from 'zod';
import { Digest } from './manifest.ts';
import type { ImageMaximum } from './source.ts';

/** What the unpacking process is asked to do, in the folder that it is started in. */
export interface UnpackJob {
  /** `blobs`: the files of the image are in `blobs`, each under the hex of its digest. `archive`: it is open as descriptor 3. */
  readonly from: 'archive' | 'blobs';
  /** Of the manifest; known for `blobs`. */
  readonly digest?: string | undefined;
  readonly arch: string;
  readonly maximum: ImageMaximum;
}

/** What came of it. `rootfs`, `additions`, `manifest.json` and `config.json` are in the folder then. */
export interface Unpacked {
  readonly digest: string;
  readonly kind: 'blobs' | 'oci-archive' | 'docker-archive';
  readonly sizeBytes: number;
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly createdMs: number;
}

export type FromUnpacker = { readonly progress: string } | { readonly problem: Problem } | { readonly done: Unpacked };

/** The process that unpacked has read hostile bytes: its words are parsed like theirs. */
export const FromUnpacker: z.ZodType<FromUnpacker> = z.union([
  z.strictObject({ progress: z.string().max(1_000) }),
  z.strictObject({ problem: z.strictObject({ code: z.string().refine(isErrorCode), message: z.string().max(10_000), hint: z.string().max(1_000) }) }) as z.ZodType<{ readonly problem: Problem }>,
  z.strictObject({
    done: z.strictObject({
      digest: Digest,
      kind: z.enum(['blobs', 'oci-archive', 'docker-archive']),
      sizeBytes: z.int().min(0),
      env: z.array(z.string().max(65_536)).max(256),
      labels: z.record(z.string(), z.string()),
      createdMs: z.number(),
    }),
  }),
]);

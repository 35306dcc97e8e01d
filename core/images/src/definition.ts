import { CaissonError } from '@caisson/contract';
import { z } from 'zod';

/** An image that is built on this host from packages of Debian. */
export interface ImageDefinition {
  /** Name that the image gets on this host. */
  readonly name: string;
  readonly base: 'debian';
  /** Code name of the release, such as `bookworm`; the host's own apt sources must have it. */
  readonly suite: string;
  /** Packages beside the required ones; what they depend on comes with them, what they recommend does not. */
  readonly packages: readonly string[];
  /** Files of those packages that are left out, as patterns in which * matches slashes too. They are there while the packages are configured. */
  readonly without?: readonly string[];
  /** Environment of what runs in it. */
  readonly env?: Readonly<Record<string, string>>;
  readonly why: string;
}

const ImageDefinition: z.ZodType<ImageDefinition> = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/),
  base: z.literal('debian'),
  suite: z.string().regex(/^[a-z][a-z0-9-]{1,30}$/),
  // Debian Policy 5.6.1: names of packages.
  packages: z.array(z.string().regex(/^[a-z0-9][a-z0-9+.-]{1,100}$/)).max(1_000),
  without: z.array(z.string().max(200).regex(/^\/usr\/[A-Za-z0-9+._*/-]+$/)).max(100).exactOptional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/), z.string().max(4_096).regex(/^[^\u0000]*$/)).exactOptional(),
  why: z.string().min(10).max(1_000),
});

/** @throws CaissonError IMAGE_INVALID naming the field */
export function parseDefinition(text: string): ImageDefinition {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CaissonError('IMAGE_INVALID', { detail: 'its definition is not JSON' });
  }
  const parsed = ImageDefinition.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('IMAGE_INVALID', { detail: `its definition: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}` });
}

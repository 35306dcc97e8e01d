import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { CaissonError } from '@caisson/contract';
import { parseSettings } from '@caisson/follower';

const MAX_AUTHORITIES = 4;
const MAX_CERTIFICATES_CHARS = 1024 * 1024;

/** `${CAISSON_DIR}/timestamps.json`: who says when the heads of this log were there. */
const StampingConfig = z.strictObject({
  /** Authorities that are asked by HTTP (RFC 3161 §3.4), in this order: the next one where one does not give a good answer. */
  urls: z.array(z.url({ protocol: /^https?$/ }).refine((url) => !/^[^/]*\/\/[^/?#]*@/.test(url), 'has a name or a password in it, which is not sent')).min(1).max(MAX_AUTHORITIES),
  /** PEM file, relative to this one: the certificates that are trusted have signed themselves, the others may be on the way to them. */
  ca: z.string().min(1),
  /** How often a head that is new is stamped, in milliseconds. Default 3,600,000: an hour. */
  everyMs: z.int().min(100).max(30 * 86_400_000).default(3_600_000),
  /** By which the head is digested. */
  hash: z.enum(['sha256', 'sha384', 'sha512']).default('sha256'),
  /** Object identifier of the policy under which it has to be stamped. Default: as the authority chooses. */
  policy: z.string().regex(/^[0-2](\.(0|[1-9]\d*))+$/, 'is no object identifier').max(128).optional(),
  /** For a whole answer, in milliseconds. Default 30,000. */
  timeoutMs: z.int().min(100).max(300_000).default(30_000),
  /** Most that is read of an answer. Default 65,536. */
  answerBytes: z.int().min(1024).max(1024 * 1024).default(65_536),
  /** How far the clock of an authority may be from the clock here before that is an alert, in milliseconds. Default 60,000. */
  clockBoundMs: z.int().min(1000).max(86_400_000).default(60_000),
});

export interface StampingPlan extends Omit<z.infer<typeof StampingConfig>, 'ca'> {
  /** The PEM text of the certificates. */
  readonly certificates: string;
}

/** Reads `timestamps.json`; null: there is none. @throws CaissonError TIMESTAMPS_INVALID, which names the field */
export function readStamping(path: string): StampingPlan | null {
  const text = textOf(path, path);
  if (text === null) return null;
  const settings = parseSettings(text, StampingConfig, (detail) => {
    throw invalid(path, detail);
  });
  const { ca, ...plan } = settings;
  const certificates = textOf(resolve(dirname(path), ca), path);
  if (certificates === null || certificates.length > MAX_CERTIFICATES_CHARS) throw invalid(path, `ca: ${ca} ${certificates === null ? 'is not there' : 'is too long'}`);
  return { ...plan, certificates };
}

function textOf(file: string, path: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw invalid(path, (error as Error).message);
  }
}

function invalid(path: string, detail: string): CaissonError {
  return new CaissonError('TIMESTAMPS_INVALID', { path, detail });
}

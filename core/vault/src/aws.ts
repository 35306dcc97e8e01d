import { z } from 'zod';
import { AwsCredentials } from '@caisson/contract';
import type { Resolved } from './resolved.ts';

/** ISO 8601 with its zone, as RFC 3339 has it. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})$/;

/** What a program that `credential_process` names prints (AWS, "Sourcing credentials with an external process"). It may say more. */
const Printed = z.object({
  Version: z.literal(1),
  AccessKeyId: z.string(),
  SecretAccessKey: z.string(),
  SessionToken: z.string().nullish(),
  Expiration: z.string().nullish(),
});

/**
 * Reads what `credential_process` prints, line breaks and all, and gives it in one form: AwsCredentials as JSON. What is wrong
 * is told by the names of its fields and never in its own words.
 */
export function awsCredentials(bytes: Buffer, nowMs: number): Resolved {
  const printed = Printed.safeParse(jsonOf(bytes));
  bytes.fill(0);
  if (!printed.success) return { why: `it is not what credential_process of AWS prints: ${fieldsOf(printed.error)}` };
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, SessionToken: token, Expiration: ends } = printed.data;
  const sessionToken = token === undefined || token === '' ? null : token;
  const expiresMs = ends === undefined || ends === null ? null : INSTANT.test(ends) ? Date.parse(ends) : Number.NaN;
  const read = AwsCredentials.safeParse({ accessKeyId, secretAccessKey, sessionToken, expiresMs });
  if (!read.success) return { why: `it holds what no credentials of AWS are: ${fieldsOf(read.error)}` };
  if (expiresMs !== null && nowMs >= expiresMs) return { why: `its Expiration was over at ${new Date(expiresMs).toISOString()}` };
  return { value: Buffer.from(JSON.stringify(read.data)), expiresMs };
}

/** Undefined: it is none. What JSON.parse throws quotes the text, and is dropped. */
function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Fields of the schemas above, whose names are ours. */
function fieldsOf({ issues }: z.ZodError): string {
  return [...new Set(issues.map(({ path }) => path.join('.') || 'no object of JSON'))].join(', ');
}

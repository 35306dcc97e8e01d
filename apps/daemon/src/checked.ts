import type { z } from 'zod';
import { CaissonError } from '@caisson/contract';

/** What a schema makes of a value from another process. @throws CaissonError REQUEST_INVALID naming the field. */
export function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('REQUEST_INVALID', { detail: `${issue?.path.join('.') || 'parameters'}: ${issue?.message ?? 'malformed'}` });
}

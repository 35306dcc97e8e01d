import type { z } from 'zod';

/**
 * What the text of a settings file says, by its schema.
 *
 * @param refuse throws with what is wrong, which begins with the field at fault
 */
export function parseSettings<T>(text: string, schema: z.ZodType<T>, refuse: (detail: string) => never): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse((error as Error).message);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const isUnknown = issue?.code === 'unrecognized_keys';
  const at = isUnknown ? [...issue.path, ...issue.keys.slice(0, 1)] : (issue?.path ?? []);
  return refuse(`${at.join('.') || 'the file'}: ${isUnknown ? 'is not a field' : (issue?.message ?? 'is not valid')}`);
}

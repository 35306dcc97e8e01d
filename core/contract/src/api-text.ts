import { z } from 'zod';

/** A whole number written as text, as a query holds it. */
export const wholeNumber = (most: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value <= most, `must be at most ${most}`);

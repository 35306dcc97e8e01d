import { z } from 'zod';
import { Level } from './level.ts';
import { Limits } from './limits.ts';

/** What this host allows. A closed schema: an unknown field is an error, so no rule is lost to a typing mistake. */
export interface Policy {
  readonly version: 1;
  readonly levels: { readonly default: Level; readonly minimum: Level };
  readonly limits: { readonly default: Limits; readonly maximum: Limits };
}

export const Policy: z.ZodType<Policy> = z.strictObject({
  version: z.literal(1),
  levels: z.strictObject({ default: Level, minimum: Level }),
  limits: z.strictObject({ default: Limits, maximum: Limits }),
});

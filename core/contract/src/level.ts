import { z } from 'zod';

/** Kernel surface offered to the agent, weakest first. */
export const LEVELS = ['container', 'gvisor', 'microvm'] as const;
export type Level = (typeof LEVELS)[number];
export const Level: z.ZodType<Level> = z.enum(LEVELS);

export function isBelow(level: Level, minimum: Level): boolean {
  return LEVELS.indexOf(level) < LEVELS.indexOf(minimum);
}

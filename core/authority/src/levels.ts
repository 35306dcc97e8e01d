import { MIB, type Denied, type Level, type Limits, type Policy, type SomeLimits } from '@caisson/contract';
import type { Asked } from './asked.ts';

interface LevelRights {
  /** What the level's own kernel takes before the command has anything. */
  readonly needs: SomeLimits;
  /** Limits that it cannot hold to on their own, with the reason. */
  readonly cannot: { readonly [K in keyof Limits]?: string };
}

const RIGHTS: Readonly<Record<Level, LevelRights>> = {
  container: { needs: {}, cannot: {} },
  gvisor: {
    needs: { memoryBytes: 32 * MIB },
    cannot: { inodes: 'gVisor gives its tmpfs no limit on files; they count against memory instead' },
  },
  microvm: { needs: {}, cannot: {} },
};

export function notEnforcedAt(level: Level): readonly (keyof Limits)[] {
  return Object.keys(RIGHTS[level].cannot) as (keyof Limits)[];
}

/** A limit that was asked for and cannot be held is refused; a default that cannot be is named in the decision. */
export function levelCannotLimit({ level: asked, limits = {} }: Asked, { levels }: Policy): Denied | null {
  const level = asked ?? levels.default;
  const limit = notEnforcedAt(level).find((name) => limits[name] !== undefined);
  if (limit === undefined) return null;
  const why = RIGHTS[level].cannot[limit] ?? '';
  return {
    effect: 'deny',
    rule: 'level-cannot-limit',
    reason: `${limit} cannot be limited at level ${level}: ${why}`,
    wouldAllow: `no ${limit}, or level container`,
    code: 'LIMIT_NOT_ENFORCEABLE',
    context: { limit, level, why },
  };
}

/** A sandbox too small for its own kernel would fail at random places; it is refused before it starts. */
export function levelNeeds({ level: asked, limits = {} }: Asked, { levels, limits: { default: usual } }: Policy): Denied | null {
  const level = asked ?? levels.default;
  for (const [limit, needed] of Object.entries(RIGHTS[level].needs) as [keyof Limits, number][]) {
    const given = limits[limit] ?? usual[limit];
    if (given >= needed) continue;
    return {
      effect: 'deny',
      rule: 'level-needs',
      reason: `${limit} of ${given} is less than the ${needed} that level ${level} itself needs`,
      wouldAllow: `${limit} of at least ${needed}`,
      code: 'LIMIT_BELOW_LEVEL',
      context: { limit, asked: given, needed, level },
    };
  }
  return null;
}

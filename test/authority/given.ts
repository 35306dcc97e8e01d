import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isBelow, LEVELS, LIMIT_NAMES, type Limits, type Policy, type RunRequest, type SomeLimits } from '@caisson/contract';
import fc from 'fast-check';

export const POLICY_PATH = join(import.meta.dirname, '../../profiles/policies/default.json');
export const policyText = readFileSync(POLICY_PATH, 'utf8');
export const shippedPolicy = JSON.parse(policyText) as Policy;

/** Least and greatest value that any policy may hold. */
const RANGE: { readonly [K in keyof Limits]: readonly [number, number] } = {
  wallMs: [10, 604_800_000],
  cpuMs: [10, 604_800_000],
  memoryBytes: [2 ** 24, 2 ** 40],
  pids: [2, 32_768],
  cpuMillis: [50, 512_000],
  outputBytes: [0, 2 ** 30],
  workspaceBytes: [2 ** 20, 2 ** 40],
  tmpBytes: [2 ** 20, 2 ** 40],
  inodes: [16, 10_000_000],
  openFiles: [16, 1_048_576],
};

function limitsWithin(from: (name: keyof Limits) => number, to: (name: keyof Limits) => number): fc.Arbitrary<Limits> {
  const one = (name: keyof Limits): fc.Arbitrary<number> => fc.integer({ min: from(name), max: to(name) });
  return fc.tuple(...LIMIT_NAMES.map(one)).map((values) => Object.fromEntries(LIMIT_NAMES.map((name, index) => [name, values[index]])) as unknown as Limits);
}

/** Limits anywhere between what a policy may least and most hold. */
const anyLimits = limitsWithin((name) => RANGE[name][0], (name) => RANGE[name][1]);

/** Policies that parsePolicy takes: no default above its maximum, no default level below the minimum. */
export const anyPolicy: fc.Arbitrary<Policy> = anyLimits.chain((maximum) =>
  fc.record({
    version: fc.constant(1 as const),
    levels: fc.record({ default: fc.constantFrom(...LEVELS), minimum: fc.constantFrom(...LEVELS) }).filter((levels) => !isBelow(levels.default, levels.minimum)),
    limits: fc.record({ default: limitsWithin((name) => RANGE[name][0], (name) => maximum[name]), maximum: fc.constant(maximum) }),
  }),
);

const someLimits: fc.Arbitrary<SomeLimits> = fc
  .tuple(anyLimits, fc.subarray([...LIMIT_NAMES]))
  .map(([limits, names]) => Object.fromEntries(names.map((name) => [name, limits[name]])));

export const anyRequest: fc.Arbitrary<RunRequest> = fc.record(
  { argv: fc.constant(['true']), level: fc.constantFrom(...LEVELS), limits: someLimits },
  { requiredKeys: ['argv'] },
);

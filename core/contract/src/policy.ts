import { z } from 'zod';
import { Level } from './level.ts';
import { Limits, MIB } from './limits.ts';
import { NetworkPolicy } from './network.ts';
import { SecretName, SecretRule } from './vault.ts';

/** What this host allows. A closed schema: an unknown field is an error, so no rule is lost to a typing mistake. */
export interface Policy {
  readonly version: 1;
  readonly levels: { readonly default: Level; readonly minimum: Level };
  readonly limits: { readonly default: Limits; readonly maximum: Limits };
  /** What holds for sandboxes that stay. Default: as in the policy that Caisson ships. */
  readonly sandboxes?: SandboxRules;
  /** What sandboxes may ask of the network, and what none gets. Default: any public name may be asked for. */
  readonly network?: NetworkPolicy;
  /** Secrets that sandboxes may ask for, by name. Default: none. */
  readonly secrets?: Readonly<Record<string, SecretRule>>;
  /** Whether sandboxes may ask for a read-only mirror of the records of their own calls; a process of Caisson's writes them then. Default false. */
  readonly auditMirror?: boolean;
}

export interface SandboxRules {
  /** Sandboxes that may be live at once. */
  readonly maximum: number;
  /** Milliseconds from the start to the end of one at the latest. */
  readonly ttlMs: { readonly default: number; readonly maximum: number };
  /** Milliseconds that one may be idle. */
  readonly idleMs: { readonly default: number; readonly maximum: number };
  /** Size of a workspace for which none is asked: it lies on disk, where `limits.default.workspaceBytes` is for memory. */
  readonly workspaceBytes: number;
}

const Milliseconds = z.strictObject({ default: z.int().min(10), maximum: z.int().min(10) });

export const SandboxRules: z.ZodType<SandboxRules> = z.strictObject({
  maximum: z.int().min(0).max(100_000),
  ttlMs: Milliseconds,
  idleMs: Milliseconds,
  workspaceBytes: z.int().min(MIB),
});

export const Policy: z.ZodType<Policy> = z.strictObject({
  version: z.literal(1),
  levels: z.strictObject({ default: Level, minimum: Level }),
  limits: z.strictObject({ default: Limits, maximum: Limits }),
  sandboxes: SandboxRules.exactOptional(),
  network: NetworkPolicy.exactOptional(),
  secrets: z.record(SecretName, SecretRule).exactOptional(),
  auditMirror: z.boolean().exactOptional(),
});

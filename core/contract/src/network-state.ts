import type { EgressRule } from './network.ts';

/** One thing that the gate refused. What is equal in all of it is counted together. */
export interface Refusal {
  readonly what: 'name' | 'packet' | 'connection' | 'request' | 'answer';
  /** Where it was meant to go, as it was asked for: `api.example.com:443`, `169.254.169.254:80/tcp`. */
  readonly to: string;
  /** Null: no rule speaks of it. */
  readonly rule: string | null;
  readonly reason: string;
  /** The smallest change that would have been allowed, such as `--allow api.example.com:443`. */
  readonly wouldAllow?: string;
}

/** A refusal with how often it happened, and when last, in milliseconds since 1970 UTC. */
export interface CountedRefusal extends Refusal {
  readonly count: number;
  readonly lastMs: number;
}

/** How often a secret went with a request. */
export interface SecretUse {
  readonly secret: string;
  readonly uses: number;
  /** Wall time of the last, in milliseconds since 1970 UTC. */
  readonly lastMs: number;
}

/** What a sandbox has done with its network so far. A gate that is started anew counts from zero. */
export interface NetworkState {
  /** Secrets that went with requests since the sandbox was admitted. */
  readonly secrets: readonly SecretUse[];
  /** Those that are open. */
  readonly connections: readonly { readonly host: string; readonly port: number; readonly startedMs: number; readonly bytesOut: number; readonly bytesIn: number }[];
  /** Of connections that are over. */
  readonly passed: { readonly connections: number; readonly bytesOut: number; readonly bytesIn: number };
  /** The latest first, at most 100 that differ. */
  readonly refused: readonly CountedRefusal[];
  /** All that was refused, also what is not listed. */
  readonly refusedTotal: number;
}

/** The network of a sandbox that stays: what it may reach now, and what it has done. */
export interface NetworkInfo extends NetworkState {
  readonly rules: readonly EgressRule[];
  /** Whether it may speak to any name, for rules to be made of what it uses. */
  readonly learn?: true;
}

import { z } from 'zod';
import { LEVELS, type Level } from './level.ts';

/** What a runtime on this host can do. Callers choose by these facts, never by name. */
export interface RuntimeFacts {
  readonly name: string;
  /** Its program, or the socket behind which it runs. */
  readonly path: string;
  readonly version: string;
  /** Whose kernel serves the agent's system calls. */
  readonly guestKernel: 'host' | 'own' | 'virtual-machine';
  /** Whether running processes can be saved and restored. */
  readonly checkpoint: boolean;
  /** Whether pid 1 gets its lanes as inherited descriptors. */
  readonly controlChannel: boolean;
  /** Typical time from nothing to pid 1, in milliseconds; the fastest fitting runtime is chosen. */
  readonly typicalLaunchMs: number;
  /** Whether programs run as the user of the spec, or as one inside that no other sandbox has because the map is shared by all. */
  readonly userInside: 'spec' | 'own';
  /** Whether a persistent workspace can be mounted. */
  readonly mountsWorkspaces: boolean;
  /** Whether a sandbox can have another image than `host`. */
  readonly mountsImages: boolean;
  /** Whether a sandbox can have a link to the gate. */
  readonly networks: boolean;
  /** Whether a sandbox can have secrets as files. */
  readonly mountsSecrets: boolean;
}

export interface HostFacts {
  readonly kernel: string;
  readonly arch: string;
  readonly rootless: boolean;
  readonly cgroup: {
    readonly mode: 'v1' | 'hybrid' | 'v2' | 'none';
    readonly writable: boolean;
    readonly controllers: readonly string[];
    /** Whether memory.memsw (v1) or memory.swap.max (v2) exists. */
    readonly swapAccounting: boolean;
  };
  readonly swapBytes: number;
  readonly userNamespaces: number;
  readonly seccomp: boolean;
  /** Landlock ABI version; 0 where the kernel offers none. */
  readonly landlockAbi: number;
  readonly runtimes: readonly RuntimeFacts[];
  /** Why a level has no runtime here, and how to get one. */
  readonly missing: Readonly<Record<Level, { readonly what: string; readonly how: string } | null>>;
  /** Why no sandbox can have a network here, and what can be done; null where one can. */
  readonly noGate: { readonly what: string; readonly how: string } | null;
}

const RuntimeFacts: z.ZodType<RuntimeFacts> = z.strictObject({
  name: z.string(),
  path: z.string(),
  version: z.string(),
  guestKernel: z.enum(['host', 'own', 'virtual-machine']),
  checkpoint: z.boolean(),
  controlChannel: z.boolean(),
  typicalLaunchMs: z.number(),
  userInside: z.enum(['spec', 'own']),
  mountsWorkspaces: z.boolean(),
  mountsImages: z.boolean(),
  networks: z.boolean(),
  mountsSecrets: z.boolean(),
});

const Missing = z.strictObject({ what: z.string(), how: z.string() }).nullable();

export const HostFacts: z.ZodType<HostFacts> = z.strictObject({
  kernel: z.string(),
  arch: z.string(),
  rootless: z.boolean(),
  cgroup: z.strictObject({
    mode: z.enum(['v1', 'hybrid', 'v2', 'none']),
    writable: z.boolean(),
    controllers: z.array(z.string()),
    swapAccounting: z.boolean(),
  }),
  swapBytes: z.number(),
  userNamespaces: z.number(),
  seccomp: z.boolean(),
  landlockAbi: z.number(),
  runtimes: z.array(RuntimeFacts),
  missing: z.record(z.enum(LEVELS), Missing),
  noGate: Missing,
});

/** The level that a runtime's kernel surface amounts to. */
export function levelOf(runtime: RuntimeFacts): Level {
  switch (runtime.guestKernel) {
    case 'host': return 'container';
    case 'own': return 'gvisor';
    case 'virtual-machine': return 'microvm';
  }
}

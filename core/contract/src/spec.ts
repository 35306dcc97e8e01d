import { z } from 'zod';
import { Level } from './level.ts';
import { Limits } from './limits.ts';
import { CertificatePem } from './network.ts';
import { LeaseId, SecretFileName } from './vault.ts';
import { WorkspaceId } from './workspace.ts';

export const NAMESPACES = ['cgroup', 'ipc', 'mount', 'network', 'pid', 'user', 'uts'] as const;
export type Namespace = (typeof NAMESPACES)[number];

/**
 * What can be mounted. No variant holds a host path, a device or a socket: the launcher alone knows where an
 * image or the init binary lies on the host, so no request can name a place outside.
 */
export type Mount =
  | { readonly kind: 'proc' }
  | { readonly kind: 'dev' }
  /**
   * Terminals: a devpts of the sandbox's own at /dev/pts, with at most `terminals` of them open at once. At level container the
   * kernel moves what is written to a terminal in threads of its own, two for each, whose time no limit of the sandbox counts: a
   * flood of 16 terminals costs the host about twice the CPU time that the sandbox itself spends on it, one of 1 terminal as
   * much again. At level gvisor all of it is gVisor's work, which is counted; terminals are always there and not numbered.
   */
  | { readonly kind: 'pts'; readonly terminals: number }
  | { readonly kind: 'init' }
  | { readonly kind: 'usr' }
  | { readonly kind: 'etc' }
  /** The lists of certificate authorities of the image, with one more that this sandbox alone trusts: its certificate, as PEM. */
  | { readonly kind: 'trust'; readonly certificate: string }
  /** What the gate has refused to this sandbox, in DENIALS_FOLDER, read-only; only with a link to the gate. */
  | { readonly kind: 'denials' }
  /**
   * Secrets as files, in SECRETS_FOLDER, read-only: by their names and leases, and never by their values. `sandbox` is whom they are
   * leased to, which is not always the id of the spec: one that is put back has another.
   */
  | { readonly kind: 'secrets'; readonly sandbox: string; readonly files: readonly SecretFileSpec[] }
  | { readonly kind: 'tmpfs'; readonly at: '/dev/shm' | '/tmp' | '/workspace'; readonly bytes: number; readonly inodes: number }
  /** A persistent workspace at /workspace, by its id; its own file system holds it to its size. */
  | { readonly kind: 'workspace'; readonly workspace: string }
  /**
   * The records of the calls and execs of `sandbox`, at MIRROR_PATH, read-only. `sandbox` is not always the id of the spec: one that is
   * put back has another. None of its records has an index in the log below `from`.
   */
  | { readonly kind: 'mirror'; readonly sandbox: string; readonly from: number };

export interface SecretFileSpec {
  readonly name: string;
  readonly lease: string;
}

export interface Rlimit {
  readonly name: 'core' | 'fsize' | 'memlock' | 'msgqueue' | 'nofile' | 'nproc' | 'sigpending' | 'stack';
  readonly value: number;
}

/** One rule of the system call filter. Several rules for one call are alternatives. */
export interface SeccompRule {
  readonly names: readonly string[];
  /** Conditions on arguments that must all hold. None: the call is allowed whatever its arguments. */
  readonly when?: readonly SeccompCondition[];
  /** What to do. Default: allow. */
  readonly errno?: number;
  /** The one level that the rule is for. Default: every level. */
  readonly level?: Level;
  readonly why: string;
}

export interface SeccompCondition {
  readonly argument: number;
  readonly operator: 'equal' | 'masked-equal' | 'not-equal' | 'masked-not-equal';
  readonly value: number;
  /** For masked-equal and masked-not-equal: the bits that are compared. */
  readonly mask?: number;
}

export interface Seccomp {
  readonly defaultErrno: number;
  readonly rules: readonly SeccompRule[];
}

/** Everything that isolates one sandbox, as data. Compiled from a decision; turned into an OCI config by the launcher. */
export interface IsolationSpec {
  readonly id: string;
  readonly level: Level;
  /** `host`, or the digest of an OCI manifest that this host has unpacked. A name or a tag never gets here. */
  readonly image: 'host' | `sha256:${string}`;
  readonly hostname: string;
  /** Identity inside; the launcher maps it to a host uid that no other sandbox has. */
  readonly user: { readonly uid: number; readonly gid: number };
  readonly namespaces: readonly Namespace[];
  /** `none`: loopback alone. `gate`: one link more, whose other end is the gate's. */
  readonly network: 'none' | 'gate';
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly readOnlyRoot: boolean;
  readonly seccomp: Seccomp;
  /** Whether pid 1 confines writing to the writable mounts by Landlock. False where the kernel is the sandbox's own. */
  readonly landlock: boolean;
  readonly mounts: readonly Mount[];
  readonly maskedPaths: readonly string[];
  readonly readOnlyPaths: readonly string[];
  readonly rlimits: readonly Rlimit[];
  readonly limits: Limits;
}

const Condition: z.ZodType<SeccompCondition> = z.strictObject({
  argument: z.int().min(0).max(5),
  operator: z.enum(['equal', 'masked-equal', 'not-equal', 'masked-not-equal']),
  value: z.int().min(0),
  mask: z.int().min(0).exactOptional(),
});

export const Seccomp: z.ZodType<Seccomp> = z.strictObject({
  defaultErrno: z.int().min(1).max(133),
  rules: z.array(
    z.strictObject({
      names: z.array(z.string().regex(/^[a-z0-9_]+$/)).min(1),
      when: z.array(Condition).exactOptional(),
      errno: z.int().min(1).max(133).exactOptional(),
      level: Level.exactOptional(),
      why: z.string().min(10),
    }),
  ),
});

export const SandboxId: z.ZodType<string> = z.string().regex(/^sbx-[0-9a-z]{16}$/);

const SecretFiles: z.ZodType<readonly SecretFileSpec[]> = z.array(z.strictObject({ name: SecretFileName, lease: LeaseId })).min(1).max(32)
  .refine((files) => new Set(files.map(({ name }) => name)).size === files.length, 'names one file twice');

const Mount: z.ZodType<Mount> = z.union([
  z.strictObject({ kind: z.enum(['proc', 'dev', 'init', 'usr', 'etc', 'denials']) }) as z.ZodType<Mount>,
  z.strictObject({ kind: z.literal('tmpfs'), at: z.enum(['/dev/shm', '/tmp', '/workspace']), bytes: z.int().min(0), inodes: z.int().min(0) }),
  z.strictObject({ kind: z.literal('workspace'), workspace: WorkspaceId }),
  z.strictObject({ kind: z.literal('trust'), certificate: CertificatePem }),
  z.strictObject({ kind: z.literal('pts'), terminals: z.int().min(1) }),
  z.strictObject({ kind: z.literal('secrets'), sandbox: SandboxId, files: SecretFiles }),
  z.strictObject({ kind: z.literal('mirror'), sandbox: SandboxId, from: z.int().min(0) }),
]);

export const IsolationSpec: z.ZodType<IsolationSpec> = z.strictObject({
  id: SandboxId,
  level: Level,
  image: z.union([z.literal('host'), z.string().regex(/^sha256:[0-9a-f]{64}$/) as unknown as z.ZodType<`sha256:${string}`>]),
  hostname: z.string().regex(/^[a-z0-9-]{1,63}$/),
  user: z.strictObject({ uid: z.int().min(1).max(65_533), gid: z.int().min(1).max(65_533) }),
  namespaces: z.array(z.enum(NAMESPACES)),
  network: z.enum(['none', 'gate']),
  capabilities: z.array(z.string()),
  noNewPrivileges: z.boolean(),
  readOnlyRoot: z.boolean(),
  seccomp: Seccomp,
  landlock: z.boolean(),
  mounts: z.array(Mount),
  maskedPaths: z.array(z.string()),
  readOnlyPaths: z.array(z.string()),
  rlimits: z.array(
    z.strictObject({ name: z.enum(['core', 'fsize', 'memlock', 'msgqueue', 'nofile', 'nproc', 'sigpending', 'stack']), value: z.int().min(0) }),
  ),
  limits: Limits,
});

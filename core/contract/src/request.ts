import { z } from 'zod';
import { Level } from './level.ts';
import { SomeLimits } from './limits.ts';
import { NetworkRequest } from './network.ts';
import { SecretNames } from './vault.ts';

/** One command to run in one fresh sandbox. */
export interface RunRequest {
  /** Program and arguments; never a shell string. */
  readonly argv: readonly string[];
  /** Level asked for. Default: the policy's. */
  readonly level?: Level;
  /** Working directory in the sandbox. Default /workspace. */
  readonly cwd?: string;
  /** Environment added to the sandbox's own PATH, HOME, USER, LANG and TMPDIR. */
  readonly env?: Readonly<Record<string, string>>;
  /** Limits that differ from the policy's defaults. */
  readonly limits?: SomeLimits;
  /** Whether the command reads the caller's stdin. Default false: it reads end of file. */
  readonly stdin?: boolean;
  /** What it may reach. Default: nothing; it has no network. */
  readonly network?: NetworkRequest;
  /** Names of secrets of the policy that it may use: at the hosts that the policy gives each, which can be reached by that, or as a file. Default: none. */
  readonly secrets?: readonly string[];
  /** Whether it sees the records of its own calls, read-only, at /workspace/audit.jsonl; the policy must allow it. Default false. */
  readonly auditMirror?: boolean;
}

const NUL = '\u0000';
export const text = (most: number): z.ZodType<string> =>
  z
    .string()
    .max(most)
    .refine((value) => !value.includes(NUL), 'must not contain a NUL byte')
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode');

/** Upper bounds that keep a spawn request within one lane frame. */
const ARGV_BYTES_MAX = 200_000;

function spawnBytes(argv: readonly string[], env: Readonly<Record<string, string>>): number {
  const strings = [...argv, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  return strings.reduce((sum, item) => sum + 4 * item.length + 1, 0);
}

export const EnvName: z.ZodType<string> = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, 'must be a name such as API_URL');

/** Program and arguments. */
export const Arguments: z.ZodType<readonly string[]> = z
  .array(text(131_072))
  .min(1, 'needs a program')
  .max(4096)
  .refine((argv) => argv[0] !== '', { path: [0], message: 'names no program' });

interface Spawned {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Refines what names a command: what cannot be handed to pid 1 in one frame is refused here. */
export const spawnFits: readonly [(spawned: Spawned) => boolean, { readonly path: string[]; readonly message: string }] = [
  ({ argv, env }) => spawnBytes(argv, env ?? {}) <= 4 * ARGV_BYTES_MAX,
  { path: ['argv'], message: `arguments and environment are more than ${ARGV_BYTES_MAX} bytes` },
];

export const RunRequest: z.ZodType<RunRequest> = z
  .strictObject({
    argv: Arguments,
    level: Level.optional(),
    cwd: text(4096).refine((path) => path.startsWith('/'), 'must be an absolute path').optional(),
    env: z.record(EnvName, text(131_072)).optional(),
    limits: SomeLimits.optional(),
    stdin: z.boolean().optional(),
    network: NetworkRequest.optional(),
    secrets: SecretNames.optional(),
    auditMirror: z.boolean().optional(),
  })
  .refine((request) => Object.keys(request.env ?? {}).length <= 1024, { path: ['env'], message: 'has more than 1024 names' })
  .refine(...spawnFits) as z.ZodType<RunRequest>;

import { z } from 'zod';
import { Level } from './level.ts';
import { SomeLimits } from './limits.ts';

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
}

const NUL = '\u0000';
const text = (most: number): z.ZodType<string> =>
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

const EnvName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, 'must be a name such as API_URL');

export const RunRequest: z.ZodType<RunRequest> = z
  .strictObject({
    argv: z.array(text(131_072)).min(1, 'needs a program').max(4096),
    level: Level.optional(),
    cwd: text(4096).refine((path) => path.startsWith('/'), 'must be an absolute path').optional(),
    env: z.record(EnvName, text(131_072)).optional(),
    limits: SomeLimits.optional(),
    stdin: z.boolean().optional(),
  })
  .refine((request) => request.argv[0] !== '', { path: ['argv', 0], message: 'names no program' })
  .refine((request) => Object.keys(request.env ?? {}).length <= 1024, { path: ['env'], message: 'has more than 1024 names' })
  .refine((request) => spawnBytes(request.argv, request.env ?? {}) <= 4 * ARGV_BYTES_MAX, {
    path: ['argv'],
    message: `arguments and environment are more than ${ARGV_BYTES_MAX} bytes`,
  }) as z.ZodType<RunRequest>;

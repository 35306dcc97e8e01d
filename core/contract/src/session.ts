import { z } from 'zod';
import type { Decision } from './decision.ts';
import type { Receipt } from './evidence.ts';
import { Level } from './level.ts';
import { SomeLimits, type Limits } from './limits.ts';
import { NetworkRequest } from './network.ts';
import { SecretNames } from './vault.ts';
import type { SandboxState } from './life.ts';
import type { Ending, OutputCount } from './outcome.ts';
import { Arguments, EnvName, spawnFits, text } from './request.ts';
import type { RunResult } from './result.ts';
import { LayerId } from './workspace.ts';

/** A sandbox that stays: what is asked for. */
export interface CreateRequest {
  /** Level asked for. Default: the policy's. */
  readonly level?: Level;
  /** `host`, the name of an image of this host, or the digest of one. Default `host`. */
  readonly image?: string;
  /** Limits that differ from the policy's defaults. `wallMs` holds for each exec, and `cpuMs` for what the whole sandbox uses while one runs. */
  readonly limits?: SomeLimits;
  /** Environment of every exec, below the exec's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Name by which the sandbox can be found while it lives; one sandbox at a time has it. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Name of a workspace that outlives the sandbox; made when there is none. Default: one that goes away with the sandbox. */
  readonly workspace?: string;
  /** Snapshot that a new workspace starts from, such as `lay-…`. */
  readonly from?: string;
  /** Whether the processes that the snapshot holds go on as well; it must be of a sandbox like this one. Default false. */
  readonly memory?: boolean;
  /** Milliseconds after which the sandbox is closed, whatever it does. Default: the policy's. */
  readonly ttlMs?: number;
  /** Milliseconds after which it is closed when no exec runs, no port connection is open and none of its files is read or written. Default: the policy's. */
  readonly idleMs?: number;
  /** Whether being idle never closes it. Default false. */
  readonly keepAlive?: boolean;
  /** Whether its programs may open terminals. Default true. */
  readonly terminals?: boolean;
  /** What it may reach; its rules can be changed while it lives. Default: nothing, for as long as it lives. */
  readonly network?: NetworkRequest;
  /** Names of secrets of the policy that it may use: at the hosts that the policy gives each, which can be reached by that, or as a file. Default: none. */
  readonly secrets?: readonly string[];
  /** Whether it sees the records of its own execs, read-only, at /workspace/audit.jsonl; the policy must allow it. Default false. */
  readonly auditMirror?: boolean;
}

/** One command in a sandbox that stays. */
export interface ExecRequest {
  /** Program and arguments; never a shell string. */
  readonly argv: readonly string[];
  /** Working directory. Default /workspace. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether stdin can be written; it ends when the caller says so. Default false: it reads end of file. */
  readonly stdin?: boolean;
  /** Gives the command a terminal of this size; stdin is open then, and all output is stdout. */
  readonly tty?: TerminalSize;
  /** Wall time in milliseconds, at most the sandbox's `wallMs`, which is the default. On expiry the exec's processes are killed. */
  readonly timeoutMs?: number;
  /** Bytes kept of stdout, and the same again of stderr. Default and maximum: the sandbox's `outputBytes`. */
  readonly outputBytes?: number;
  /** The one user of a sandbox is `agent`; any other is refused. */
  readonly user?: string;
}

export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** A sandbox as its caller sees it; readable after its end too. */
export interface SandboxInfo {
  readonly id: string;
  readonly name: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: SandboxState;
  /** Why it is in this state, one sentence. */
  readonly reason: string;
  readonly level: RunResult['level'];
  readonly image: string;
  readonly limits: Limits;
  readonly notEnforced: readonly (keyof Limits)[];
  readonly terminals: boolean;
  /** What it may reach; null: it has no network. */
  readonly network: NetworkRequest | null;
  /** Names of the secrets that it may use now. */
  readonly secrets: readonly string[];
  /** Whether it sees the records of its own execs at /workspace/audit.jsonl. */
  readonly auditMirror: boolean;
  readonly workspace: { readonly id: string; readonly name: string | null };
  readonly createdMs: number;
  readonly endedMs: number | null;
  /** When it is closed at the latest. */
  readonly expiresMs: number;
  readonly idleMs: number | null;
  /** Ids of the execs under way. */
  readonly running: readonly string[];
  /** Whether it had been started before it was asked for. */
  readonly warm: boolean;
  readonly decision: Decision;
  readonly evidence: RunResult['evidence'];
  readonly timings: RunResult['timings'];
}

/** One exec as its caller sees it. */
export interface ExecInfo {
  readonly id: string;
  readonly sandbox: string;
  readonly program: string;
  readonly state: 'running' | 'ended';
  readonly tty: boolean;
  readonly startedMs: number;
  readonly endedMs: number | null;
  readonly ending: Ending | null;
  /** Exit status as in `exitStatus`, `unknown`, or null while it runs. */
  readonly exit: number | 'unknown' | null;
  readonly reason: string | null;
  readonly output: { readonly stdout: OutputCount; readonly stderr: OutputCount } | null;
  readonly evidence: { readonly intent: Receipt | null; readonly outcome: Receipt | null };
}

/** What a follower of an exec is told, in order. `offset` counts the bytes of both streams together, in the order they came. */
export type ExecEvent =
  | { readonly type: 'output'; readonly stream: 'stdout' | 'stderr'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: 'end'; readonly exec: ExecInfo };

/** What a sandbox uses now, measured outside it. `null`: this kernel does not say. */
export interface LiveUsage {
  readonly cpuMs: number | null;
  readonly memoryBytes: number | null;
  readonly memoryPeakBytes: number | null;
  readonly pids: number | null;
  readonly pidsPeak: number | null;
  readonly oomKills: number | null;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const Name: z.ZodType<string> = z.string().regex(NAME, 'must be 1 to 63 of a-z, 0-9, dot, dash and underscore, and begin with a letter or digit');
/** A name that could be an id would be taken for it once what has the id is forgotten. */
export const OwnName: z.ZodType<string> = Name.refine((name) => !/^(?:sbx|wsp|lay|exe)-[0-9a-z]{16}$/.test(name), 'must not be like an id');
const Env: z.ZodType<Readonly<Record<string, string>>> = z.record(EnvName, text(131_072)).refine((env) => Object.keys(env).length <= 1024, 'has more than 1024 names');
const Labels: z.ZodType<Readonly<Record<string, string>>> = z.record(Name, text(256)).refine((labels) => Object.keys(labels).length <= 32, 'has more than 32 names');
const Milliseconds: z.ZodType<number> = z.int().min(10).max(30 * 86_400_000);

export const TerminalSize: z.ZodType<TerminalSize> = z.strictObject({ cols: z.int().min(1).max(1_000), rows: z.int().min(1).max(1_000) });
export const ExecId: z.ZodType<string> = z.string().regex(/^exe-[0-9a-z]{16}$/, 'must be the id of an exec, exe- and 16 letters or digits');
export const ImageRef: z.ZodType<string> = z.string().regex(/^(host|sha256:[0-9a-f]{64}|[a-z0-9][a-z0-9._-]{0,62})$/, 'must be host, the name of an image or its digest');

export const CreateRequest: z.ZodType<CreateRequest> = z.strictObject({
  level: Level.optional(),
  image: ImageRef.optional(),
  limits: SomeLimits.optional(),
  env: Env.optional(),
  name: OwnName.optional(),
  labels: Labels.optional(),
  workspace: OwnName.optional(),
  from: LayerId.optional(),
  memory: z.boolean().optional(),
  ttlMs: Milliseconds.optional(),
  idleMs: Milliseconds.optional(),
  keepAlive: z.boolean().optional(),
  terminals: z.boolean().optional(),
  network: NetworkRequest.optional(),
  secrets: SecretNames.optional(),
  auditMirror: z.boolean().optional(),
}) as z.ZodType<CreateRequest>;

export const ExecRequest: z.ZodType<ExecRequest> = z
  .strictObject({
    argv: Arguments,
    cwd: text(4096).refine((path) => path.startsWith('/'), 'must be an absolute path').optional(),
    env: Env.optional(),
    stdin: z.boolean().optional(),
    tty: TerminalSize.optional(),
    timeoutMs: Milliseconds.optional(),
    outputBytes: z.int().min(0).optional(),
    user: z.literal('agent', 'must be agent: a sandbox has no other user').optional(),
  })
  .refine(...spawnFits) as z.ZodType<ExecRequest>;

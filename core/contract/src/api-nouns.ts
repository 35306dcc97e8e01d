import { z } from 'zod';
import type { Allowed as AllowedType, Decision as DecisionType, Denied as DeniedType } from './decision.ts';
import { ERROR_CODES, type ErrorCode } from './errors.ts';
import { Receipt } from './evidence.ts';
import { Level } from './level.ts';
import { SandboxState } from './life.ts';
import { EgressRule, NetworkRequest } from './network.ts';
import type { NetworkInfo as NetworkInfoType } from './network-state.ts';
import { LIMIT_NAMES, Limits } from './limits.ts';
import type { Ending as EndingType, OutputCount as OutputCountType } from './outcome.ts';
import type { SecretInfo as SecretInfoType } from './vault.ts';
import type { ExecInfo as ExecInfoType, LiveUsage as LiveUsageType, SandboxInfo as SandboxInfoType } from './session.ts';

/** problem+json (RFC 9457) of a code of the one table. */
export interface ProblemBody {
  /** `urn:caisson:error:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint: string;
}

export const Problem: z.ZodType<ProblemBody> = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.enum(ERROR_CODES as readonly [ErrorCode, ...ErrorCode[]]),
  detail: z.string(),
  hint: z.string(),
});

const Limit: z.ZodType<keyof Limits> = z.enum(LIMIT_NAMES as readonly [keyof Limits, ...(keyof Limits)[]]);
const Milliseconds: z.ZodType<number> = z.number().describe('milliseconds since 1970 UTC');

export const Allowed: z.ZodType<AllowedType> = z.strictObject({
  effect: z.literal('allow'),
  rule: z.string(),
  reason: z.string(),
  level: Level,
  limits: Limits,
  notEnforced: z.array(Limit),
});

export const Denied: z.ZodType<DeniedType> = z.strictObject({
  effect: z.literal('deny'),
  rule: z.string(),
  reason: z.string(),
  wouldAllow: z.string(),
  code: z.enum(ERROR_CODES as readonly [ErrorCode, ...ErrorCode[]]),
  context: z.record(z.string(), z.union([z.string(), z.number()])),
});

const Decision: z.ZodType<DecisionType> = z.union([Allowed, Denied]);
const Evidence = z.strictObject({ intent: Receipt.nullable(), outcome: Receipt.nullable() });

export const SandboxInfo: z.ZodType<SandboxInfoType> = z.strictObject({
  id: z.string(),
  name: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  state: SandboxState,
  reason: z.string(),
  level: z.strictObject({ requested: Level, delivered: Level.nullable(), runtime: z.string().nullable(), kernel: z.string().nullable() }),
  image: z.string(),
  limits: Limits,
  notEnforced: z.array(Limit),
  terminals: z.boolean(),
  auditMirror: z.boolean(),
  network: NetworkRequest.nullable(),
  secrets: z.array(z.string()),
  workspace: z.strictObject({ id: z.string(), name: z.string().nullable() }),
  createdMs: Milliseconds,
  endedMs: Milliseconds.nullable(),
  expiresMs: Milliseconds,
  idleMs: z.number().nullable(),
  running: z.array(z.string()),
  warm: z.boolean(),
  decision: Decision,
  evidence: Evidence,
  timings: z.record(z.string(), z.number()),
});

export const OutputCount: z.ZodType<OutputCountType> = z.strictObject({
  written: z.int(),
  returned: z.int(),
  truncated: z.boolean(),
  sha256: z.string(),
});

export const Ending: z.ZodType<EndingType> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('exited'), code: z.int() }),
  z.strictObject({ kind: z.literal('signaled'), signal: z.int() }),
  z.strictObject({ kind: z.literal('timed-out'), limit: z.enum(['wall', 'cpu']), limitMs: z.number() }),
  z.strictObject({ kind: z.literal('out-of-memory'), limitBytes: z.number() }),
  z.strictObject({ kind: z.literal('not-started'), code: z.enum(['COMMAND_NOT_FOUND', 'COMMAND_NOT_EXECUTABLE', 'CWD_INVALID']), detail: z.string() }),
  z.strictObject({ kind: z.literal('refused'), code: z.string(), detail: z.string() }),
  z.strictObject({ kind: z.literal('failed'), code: z.string(), detail: z.string() }),
  z.strictObject({ kind: z.literal('cancelled'), detail: z.string() }),
  z.strictObject({ kind: z.literal('unknown'), detail: z.string() }),
]);

export const ExecInfo: z.ZodType<ExecInfoType> = z.strictObject({
  id: z.string(),
  sandbox: z.string(),
  program: z.string(),
  state: z.enum(['running', 'ended']),
  tty: z.boolean(),
  startedMs: Milliseconds,
  endedMs: Milliseconds.nullable(),
  ending: Ending.nullable(),
  exit: z.union([z.int(), z.literal('unknown')]).nullable(),
  reason: z.string().nullable(),
  output: z.strictObject({ stdout: OutputCount, stderr: OutputCount }).nullable(),
  evidence: Evidence,
});

export const LiveUsage: z.ZodType<LiveUsageType> = z.strictObject({
  cpuMs: z.number().nullable(),
  memoryBytes: z.number().nullable(),
  memoryPeakBytes: z.number().nullable(),
  pids: z.number().nullable(),
  pidsPeak: z.number().nullable(),
  oomKills: z.number().nullable(),
});

const Refused = z.strictObject({
  what: z.enum(['name', 'packet', 'connection', 'request', 'answer']),
  to: z.string(),
  rule: z.string().nullable(),
  reason: z.string(),
  wouldAllow: z.string().exactOptional(),
  count: z.int(),
  lastMs: Milliseconds,
});

export const SecretInfo: z.ZodType<SecretInfoType> = z.strictObject({
  secret: z.string(),
  file: z.string().nullable(),
  uses: z.int(),
  lastMs: Milliseconds.nullable(),
  expiresMs: Milliseconds.nullable(),
});

export const NetworkInfo: z.ZodType<NetworkInfoType> = z.strictObject({
  rules: z.array(EgressRule),
  learn: z.literal(true).exactOptional(),
  secrets: z.array(z.strictObject({ secret: z.string(), uses: z.int(), lastMs: Milliseconds })),
  connections: z.array(z.strictObject({ host: z.string(), port: z.int(), startedMs: Milliseconds, bytesOut: z.int(), bytesIn: z.int() })),
  passed: z.strictObject({ connections: z.int(), bytesOut: z.int(), bytesIn: z.int() }),
  refused: z.array(Refused),
  refusedTotal: z.int(),
});

/** Data of an SSE event `output`. The event's id is the offset after it. */
export interface OutputEventData {
  readonly stream: 'stdout' | 'stderr';
  /** Bytes of both streams together before these. */
  readonly offset: number;
  /** The bytes, base64. */
  readonly data: string;
}

export const OutputEvent: z.ZodType<OutputEventData> = z.strictObject({ stream: z.enum(['stdout', 'stderr']), offset: z.int(), data: z.base64() });

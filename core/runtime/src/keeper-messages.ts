import { z } from 'zod';
import { IsolationSpec, LayerId, LeaseId, SandboxId, TerminalSize, type LiveUsage, type Usage } from '@caisson/contract';
import { End, Hello, ProcessSpec, Used, User } from './messages.ts';
import type { KeptEnd, KeptExecInfo, KeptHead, KeptInfo, KeptReport } from './kept.ts';

const Count = z.int().min(0);
const NullableCount = Count.nullable();
/** What control notes with a sandbox or exec, to know it again; the launcher keeps it and never reads it. */
const Memo = z.string().max(2 * 1024 * 1024);
const ExecKey = z.string().regex(/^[a-z0-9-]{1,64}$/);
const Named = z.strictObject({ id: SandboxId });
const OfExec = z.strictObject({ id: SandboxId, exec: ExecKey });

/** Execs that are told of at once: what is noted of them must fit into one frame. */
export const EXECS_AT_ONCE = 32;

/** Longest that the answer to a start is held for its end. */
const HOLD_MOST_MS = 1_000;

/** What control may ask the keeper of sandboxes that stay: the parameters of each verb. */
export const KEEPER_VERBS = {
  /** A launch is likely to be asked for within milliseconds. */
  expect: z.strictObject({}),
  launch: z.strictObject({ spec: IsolationSpec, memo: Memo, checkpoint: LayerId.nullable() }),
  checkpoint: z.strictObject({ id: SandboxId, snapshot: LayerId }),
  checkpoints: z.strictObject({}),
  settledCheckpoints: z.strictObject({}),
  removeCheckpoint: z.strictObject({ snapshot: LayerId }),
  rename: z.strictObject({ id: SandboxId, exec: ExecKey, as: ExecKey, memo: Memo }),
  list: z.strictObject({}),
  kept: Named,
  keptExecs: z.strictObject({ id: SandboxId, execs: z.array(ExecKey).max(EXECS_AT_ONCE) }),
  note: z.strictObject({ id: SandboxId, memo: Memo }),
  pause: Named,
  resume: Named,
  usage: Named,
  renewSecret: z.strictObject({ id: SandboxId, lease: LeaseId }),
  dropSecret: z.strictObject({ id: SandboxId, lease: LeaseId }),
  close: z.strictObject({ id: SandboxId, why: z.string().max(1024).nullable() }),
  /** Answered when the sandbox has ended. */
  ended: Named,
  /** Answered with the end of the exec where that comes within `holdMs`, and with null at once or after that time. */
  start: z.strictObject({ id: SandboxId, exec: ExecKey, memo: Memo, process: ProcessSpec, holdMs: Count.max(HOLD_MOST_MS) }),
  /** Answered when the exec has ended. */
  wait: OfExec,
  stdin: z.strictObject({ id: SandboxId, exec: ExecKey, offset: NullableCount, base64: z.string().max(1024 * 1024) }),
  endStdin: OfExec,
  signal: z.strictObject({ id: SandboxId, exec: ExecKey, signal: z.int().min(1).max(64) }),
  kill: OfExec,
  resize: z.strictObject({ id: SandboxId, exec: ExecKey, size: TerminalSize }),
} as const;

export type KeeperVerb = keyof typeof KEEPER_VERBS;
export type KeeperParameters<V extends KeeperVerb> = z.infer<(typeof KEEPER_VERBS)[V]>;

/** The first message of a connection that carries bytes. */
export type StreamRequest =
  | { readonly stream: 'follow'; readonly id: string; readonly exec: string; readonly from: number }
  | { readonly stream: 'recording'; readonly id: string; readonly exec: string }
  | { readonly stream: 'dial'; readonly id: string; readonly port: number }
  | { readonly stream: 'files'; readonly id: string };

export const StreamRequest: z.ZodType<StreamRequest> = z.discriminatedUnion('stream', [
  z.strictObject({ stream: z.literal('follow'), id: SandboxId, exec: ExecKey, from: Count }),
  z.strictObject({ stream: z.literal('recording'), id: SandboxId, exec: ExecKey }),
  z.strictObject({ stream: z.literal('dial'), id: SandboxId, port: z.int().min(1).max(65_535) }),
  z.strictObject({ stream: z.literal('files'), id: SandboxId }),
]);

/** `ready`: the bytes follow. `end`: there are no more. */
export type StreamReply =
  | { readonly reply: 'ready' }
  | { readonly reply: 'end' }
  | { readonly reply: 'problem'; readonly problem: { readonly code: string; readonly message: string; readonly hint: string } };

export const StreamReply: z.ZodType<StreamReply> = z.discriminatedUnion('reply', [
  z.strictObject({ reply: z.literal('ready') }),
  z.strictObject({ reply: z.literal('end') }),
  z.strictObject({ reply: z.literal('problem'), problem: z.strictObject({ code: z.string(), message: z.string(), hint: z.string() }) }),
]);

export const UsageReply: z.ZodType<Usage> = Used;
export const LiveUsageReply: z.ZodType<LiveUsage> = z.strictObject({
  cpuMs: NullableCount, memoryBytes: NullableCount, memoryPeakBytes: NullableCount, pids: NullableCount, pidsPeak: NullableCount, oomKills: NullableCount,
});

const KeptCount = z.strictObject({ bytes: Count, sha256: z.string() });

const REPORT = {
  end: End,
  written: z.strictObject({ stdout: Count, stderr: Count }),
  kept: z.strictObject({ stdout: KeptCount, stderr: KeptCount }),
  recording: z.array(z.strictObject({ bytes: Count, sha256: z.string() })),
  unkept: z.string().nullable().default(null),
  outOfMemory: z.boolean(),
  endedMs: z.number(),
};

const KeptReportReply: z.ZodType<KeptReport> = z.strictObject(REPORT);
export const KeptEndReply: z.ZodType<KeptEnd> = z.strictObject({
  ...REPORT,
  whole: z.array(z.strictObject({ stream: z.enum(['stdout', 'stderr']), base64: z.string() })).nullable(),
});

/** Null: it had not ended. */
export const StartReply: z.ZodType<KeptEnd | null> = KeptEndReply.nullable();

export const KeptExecReply: z.ZodType<KeptExecInfo> = z.strictObject({ id: ExecKey, memo: Memo, startedMs: z.number(), report: KeptReportReply.nullable() });

const KEPT = { id: SandboxId, memo: Memo, runtime: z.string(), user: User, address: z.ipv4().nullable(), hello: Hello, paused: z.boolean(), closedFor: z.string().nullable(), usage: UsageReply.nullable() };

export const KeptReply: z.ZodType<KeptInfo> = z.strictObject({ ...KEPT, execs: z.array(KeptExecReply) });
/** Of its execs the ids only. */
export const KeptHeadReply: z.ZodType<KeptHead> = z.strictObject({ ...KEPT, execs: z.array(ExecKey) });

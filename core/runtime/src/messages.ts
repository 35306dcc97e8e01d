import { z } from 'zod';
import { CaissonError, IsolationSpec, TerminalSize, type Usage } from '@caisson/contract';
import type { ExecEnd, ExecReport, Machine, ProcessSpec as ProcessSpecType } from './driver.ts';
import type { Hello as HelloType } from './hello.ts';

/** What control may say to the launcher: a closed set of verbs on one connection, which holds at most one sandbox. */
export type ToLauncher =
  | { readonly type: 'facts'; readonly again: boolean }
  | { readonly type: 'expect' }
  | { readonly type: 'launch'; readonly spec: IsolationSpec }
  | { readonly type: 'spawn'; readonly exec: number; readonly process: ProcessSpec }
  | { readonly type: 'signal'; readonly exec: number; readonly signal: number }
  | { readonly type: 'taken'; readonly exec: number; readonly bytes: number }
  | { readonly type: 'close' };

const Count = z.int().min(0);
const Text = z.string().max(131_072).refine((text) => !text.includes('\0'), 'holds a NUL byte');

type ProcessSpec = ProcessSpecType;
export const ProcessSpec: z.ZodType<ProcessSpec> = z.strictObject({
  argv: z.array(Text).min(1).max(4096),
  env: z.array(Text).max(2048),
  cwd: Text.refine((path) => path.startsWith('/'), 'is not absolute'),
  stdin: z.boolean(),
  outputBytes: Count,
  ownLimits: z.strictObject({ wallMs: z.int().min(1), cpuMs: z.int().min(1) }).exactOptional(),
  tty: TerminalSize.exactOptional(),
});

export const ToLauncher: z.ZodType<ToLauncher> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('facts'), again: z.boolean() }),
  z.strictObject({ type: z.literal('expect') }),
  z.strictObject({ type: z.literal('launch'), spec: IsolationSpec }),
  z.strictObject({ type: z.literal('spawn'), exec: Count, process: ProcessSpec }),
  z.strictObject({ type: z.literal('signal'), exec: Count, signal: z.int().min(1).max(64) }),
  z.strictObject({ type: z.literal('taken'), exec: Count, bytes: Count }),
  z.strictObject({ type: z.literal('close') }),
]);

export type FromLauncher =
  | { readonly type: 'facts'; readonly facts: unknown }
  | { readonly type: 'launched'; readonly runtime: string; readonly user: User; readonly address: string | null; readonly hello: Hello }
  | { readonly type: 'problem'; readonly problem: { readonly code: string; readonly message: string; readonly hint: string } }
  | { readonly type: 'report'; readonly exec: number; readonly report: ExecReport }
  | { readonly type: 'stdin-taken'; readonly exec: number; readonly bytes: number }
  | { readonly type: 'closed'; readonly usage: Usage };

const NullableCount = Count.nullable();

const Counted = z.strictObject({ started: NullableCount, asked: Count, cpuUs: NullableCount, readBytes: NullableCount, writtenBytes: NullableCount });
export const Used: z.ZodType<Usage> = z.strictObject({ cpuMs: NullableCount, memoryPeakBytes: NullableCount, pidsPeak: NullableCount, oomKills: NullableCount, counts: Counted.exactOptional() });

type User = Machine['user'];
export const User: z.ZodType<User> = z.strictObject({ uid: Count, gid: Count });

type Hello = HelloType;
export const Hello: z.ZodType<Hello> = z.strictObject({
  kernel: z.string(), version: z.string(), hostname: z.string(),
  pid: z.int(), uid: z.int(), gid: z.int(), landlockAbi: z.int(),
  rootReadOnly: z.boolean(), otherProcesses: z.int(), capabilities: z.string(), noNewPrivileges: z.boolean(),
  seccomp: z.int(), namespaceOwner: z.int(), inotifyInstances: NullableCount, inotifyWatches: NullableCount, uidMap: z.string(), interfaces: z.array(z.string()), namespaces: z.record(z.string(), z.string()),
});

export const End: z.ZodType<ExecEnd> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('exited'), code: z.int().min(0).max(255) }),
  z.strictObject({ kind: z.literal('signaled'), signal: z.int().min(1).max(127) }),
  z.strictObject({ kind: z.literal('timed-out'), limit: z.enum(['wall', 'cpu']) }),
  z.strictObject({ kind: z.literal('not-started'), stage: z.enum(['setup', 'cwd', 'exec']), errno: Count }),
  z.strictObject({ kind: z.literal('lost'), detail: z.string() }),
]);

export const FromLauncher: z.ZodType<FromLauncher> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('facts'), facts: z.unknown() }),
  z.strictObject({ type: z.literal('launched'), runtime: z.string(), user: User, address: z.ipv4().nullable(), hello: Hello }),
  z.strictObject({ type: z.literal('problem'), problem: z.strictObject({ code: z.string(), message: z.string(), hint: z.string() }) }),
  z.strictObject({
    type: z.literal('report'),
    exec: Count,
    report: z.strictObject({ end: End, written: z.strictObject({ stdout: Count, stderr: Count }) }),
  }),
  z.strictObject({ type: z.literal('stdin-taken'), exec: Count, bytes: Count }),
  z.strictObject({
    type: z.literal('closed'),
    usage: Used,
  }),
]) as z.ZodType<FromLauncher>;

/** @throws CaissonError FRAME_INVALID naming the field. */
export function parseMessage<T>(schema: z.ZodType<T>, message: unknown): T {
  const parsed = schema.safeParse(message);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('FRAME_INVALID', { detail: `${issue?.path.join('.') || 'message'}: ${issue?.message ?? 'malformed'}` });
}

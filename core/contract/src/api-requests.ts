import { z } from 'zod';
import { wholeNumber } from './api-text.ts';
import { SandboxState } from './life.ts';
import { text } from './request.ts';
import { CreateRequest, ImageRef, OwnName, TerminalSize, type CreateRequest as Create } from './session.ts';
import { LayerId } from './workspace.ts';

export { ExecRequest } from './session.ts';

const MOST_MS = 30 * 86_400_000;
const Label = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}=[^\u0000]{0,256}$/, 'must be name=value');

/** No body, or one without fields. */
export const Nothing = z.strictObject({}).optional();

export const ListQuery = z.strictObject({
  state: SandboxState.optional(),
  /** May be given several times: all must hold. */
  label: z.union([Label, z.array(Label).max(32)]).optional(),
  limit: wholeNumber(1_000).optional(),
  cursor: text(256).optional(),
});

export const Renewal = z
  .strictObject({ ttlMs: z.int().min(10).max(MOST_MS).exactOptional(), idleMs: z.int().min(10).max(MOST_MS).exactOptional(), keepAlive: z.boolean().exactOptional() })
  .refine((renewal) => Object.keys(renewal).length > 0, 'names nothing to change');

export const NewSnapshot = z.strictObject({ label: text(256).exactOptional(), memory: z.boolean().exactOptional() });

/** A create request without `from`: what is forked is what the new sandbox starts from. */
export const ForkRequest: z.ZodType<Omit<Create, 'from'>> = (CreateRequest as z.ZodObject).omit({ from: true });

export const Restore = z.strictObject({ snapshot: LayerId });
export const Changes = z.strictObject({ from: LayerId.optional(), limit: wholeNumber(100_000).optional() });

/** Longest that a request waits for the end of an exec, in milliseconds. */
const WAIT_MOST_MS = 300_000;
export const WaitQuery = z.strictObject({ waitMs: wholeNumber(WAIT_MOST_MS).optional() });
export const FollowQuery = z.strictObject({ from: wholeNumber(Number.MAX_SAFE_INTEGER).optional() });
export const StdinQuery = z.strictObject({
  offset: wholeNumber(Number.MAX_SAFE_INTEGER).optional(),
  end: z.enum(['true', 'false']).transform((value) => value === 'true').optional(),
});

/** Signals by their names, as numbered by Linux on x86-64 and arm64 (signal(7)). */
const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGILL: 4, SIGTRAP: 5, SIGABRT: 6, SIGBUS: 7, SIGFPE: 8, SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGUSR2: 12,
  SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGSTKFLT: 16, SIGCHLD: 17, SIGCONT: 18, SIGSTOP: 19, SIGTSTP: 20, SIGTTIN: 21, SIGTTOU: 22, SIGURG: 23,
  SIGXCPU: 24, SIGXFSZ: 25, SIGVTALRM: 26, SIGPROF: 27, SIGWINCH: 28, SIGIO: 29, SIGPWR: 30, SIGSYS: 31,
};

const SignalName = z.enum(Object.keys(SIGNALS) as [string, ...string[]], 'must be 1 to 64 or a name such as SIGTERM');
export const Signal = z.strictObject({ signal: z.union([z.int().min(1).max(64), SignalName], 'must be 1 to 64 or a name such as SIGTERM') });
export const Resize: z.ZodType<TerminalSize> = TerminalSize;

export function signalNumber(signal: number | string): number {
  return typeof signal === 'number' ? signal : (SIGNALS[signal] ?? 0);
}

export const WorkspaceImport = z.strictObject({ name: OwnName.optional() });

/** An image from where it is named; its definition when it is to be built. */
export const ImageImport = z.strictObject({
  name: ImageRef.optional(),
  source: text(4096).optional(),
  /** The definition of the image. */
  build: z.looseObject({}).optional(),
}).refine(({ source, build }) => (source === undefined) !== (build === undefined), { path: ['source'], message: 'or build must be given, and not both' });

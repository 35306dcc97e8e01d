import { CaissonError, exitStatus, problem, problemOf, reasonFor, type Ending, type EntryDraft, type ExecEvent, type ExecInfo, type ExecRequest, type Json, type OutputCount, type RunRequest, type Usage } from '@caisson/contract';
import { decideExec } from '@caisson/authority';
import type { KeptEnd } from '@caisson/runtime';
import { runningInfo, type Box, type BoxExec } from './box.ts';
import { endingOf, failed, SIGKILL } from './ending.ts';
import { freshId } from './ids.ts';
import { execNote, type ExecNote } from './note.ts';
import { recordIntent, recordOutcome } from './on-record.ts';
import { commitment, programName } from './record.ts';
import { execIntent, execOutcome } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';
import { credentialEnv } from './credentials.ts';
import { environment } from './stream.ts';

/** Who runs a command. */
interface Starter {
  readonly caller: string;
  readonly key: string | null;
  /** Whether they go on to its end. */
  readonly follows: boolean;
}

/** Most commands that end at all within the time in which a person sees no difference end within this: they are told of once, not twice. */
const HOLD_MS = 5;

/**
 * One command in a sandbox that stays: decide → intent → start. It resolves when the command has been handed over, and a
 * little later for who follows one that takes no input; what comes of it is put on record whether anybody waits for it or not.
 */
export async function startExec(box: Box, request: ExecRequest, { caller, key, follows }: Starter, rooms: StayRooms): Promise<ExecInfo> {
  const { caller: tenant, decision: { limits } } = box.facts;
  const id = freshId('exe', rooms.randomBytes);
  const salt = rooms.randomBytes(32).toString('hex');
  const digest = commitment(salt, request as unknown as Json);

  const decision = decideExec(request, limits);
  const notStarted = (ending: Ending): EntryDraft => execOutcome(id, { tenant, ending, output: null, salt });
  const unrecorded = notStarted({ kind: 'refused', code: 'EVIDENCE_UNAVAILABLE', detail: 'its intent was not on record' });
  const intent = await recordIntent(execIntent(id, { sandbox: box.facts.id, tenant, caller, request, decision, digest, salt }), unrecorded, rooms);
  if (decision.effect === 'deny') {
    const refused = new CaissonError(decision.code, decision.context);
    await recordOutcome(notStarted({ kind: 'refused', code: refused.code, detail: refused.message }), rooms);
    throw refused;
  }

  const note: ExecNote = { id, program: programName(request), tty: request.tty !== undefined, salt, request: { argv: [request.argv[0] ?? ''], cwd: request.cwd ?? '/workspace' }, intent, key, digest, limits: { wallMs: decision.wallMs, cpuMs: decision.cpuMs } };
  const { machine } = box;
  const takesInput = request.stdin === true || request.tty !== undefined;
  const startedMs = rooms.wallMs();
  let end: KeptEnd | null;
  try {
    box.mustBe('running', 'an exec'); // it may have been closed or paused while the intent was written
    end = await rooms.keeper.start(machine, id, execNote(note), {
      argv: request.argv,
      env: environment(namesAndValues(box.facts.imageEnv), credentialEnv(box.credentials), box.facts.request.env ?? {}, request.env ?? {}, request.tty === undefined ? {} : { TERM: 'xterm-256color' }),
      cwd: request.cwd ?? '/workspace',
      stdin: takesInput,
      outputBytes: decision.outputBytes,
      ownLimits: { wallMs: decision.wallMs, cpuMs: decision.cpuMs },
      ...(request.tty === undefined ? {} : { tty: request.tty }),
    }, follows && !takesInput ? HOLD_MS : 0);
  } catch (error) {
    const { code, message } = problemOf(error);
    // A launcher that went away may or may not have started it; its sandbox is gone either way.
    const ending: Ending = code === 'DAEMON_UNREACHABLE' ? { kind: 'unknown', detail: message } : { kind: 'failed', code, detail: message };
    await recordOutcome(notStarted(ending), rooms);
    throw error;
  }
  return watchExec(box, note, { startedMs, machine, ...(end !== null && { end: Promise.resolve(end) }) }, rooms).info;
}

/** Waits for the end of a command that runs, and puts it on record. */
export function watchExec(
  box: Box,
  note: ExecNote,
  { startedMs, machine = box.machine, end }: { readonly startedMs: number; readonly machine?: string; readonly end?: Promise<KeptEnd> },
  rooms: StayRooms,
): BoxExec {
  const exec: BoxExec = { ...note, startedMs, machine, info: runningInfo({ ...note, startedMs }, box.facts.id), ended: Promise.resolve(null as never), whole: Promise.withResolvers() };
  box.execs.set(note.id, exec);
  exec.ended = finish(box, exec, end ?? rooms.keeper.wait(machine, note.id), rooms);
  return exec;
}

async function finish(box: Box, exec: BoxExec, end: Promise<KeptEnd>, rooms: StayRooms): Promise<ExecInfo> {
  const report = await end.catch((error: unknown) => problemOf(error).message);
  if (typeof report !== 'string') exec.whole.resolve(report.whole?.map(({ stream, base64 }) => ({ stream, bytes: Buffer.from(base64, 'base64') })) ?? null);
  else exec.whole.resolve(null);
  const ending = typeof report === 'string' ? lost(box, report) : endingFor(box, exec, report);
  const output = typeof report === 'string' ? null : counts(report);
  const draft = execOutcome(exec.id, { tenant: box.facts.caller, ending, output, salt: exec.salt, ...(typeof report === 'string' ? {} : { recording: report.recording }) });
  const outcome = await recordOutcome(draft, rooms);
  box.use(rooms.wallMs());
  const endedMs = typeof report === 'string' ? rooms.wallMs() : report.endedMs;
  exec.info = {
    ...exec.info,
    state: 'ended',
    endedMs,
    ending,
    exit: ending.kind === 'unknown' ? 'unknown' : exitStatus(ending),
    reason: reasonFor(ending),
    output,
    evidence: { intent: exec.intent, outcome },
  };
  box.hasEnded(exec);
  return exec.info;
}

const KILLED: Pick<Usage, 'oomKills'> = { oomKills: 1 };
const NOTHING: Usage = { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null };

function endingFor(box: Box, exec: BoxExec, report: KeptEnd): Ending {
  if (report.end.kind === 'lost' && !report.outOfMemory) return lost(box, report.end.detail);
  const limits = { ...box.facts.decision.limits, ...exec.limits };
  // It was killed for that, and for nothing that it did.
  if (report.unkept !== null && report.end.kind === 'signaled' && report.end.signal === SIGKILL && !report.outOfMemory) return failed(problem('OUTPUT_NOT_KEPT', { detail: report.unkept }));
  const own = exec.request as RunRequest;
  return endingOf(report.end, report.outOfMemory ? { ...NOTHING, ...KILLED } : NOTHING, limits, own);
}

/** A command that ends with its sandbox was cancelled when somebody closed that; otherwise nobody knows how far it got. */
function lost(box: Box, detail: string): Ending {
  if (box.state === 'closing' || box.state === 'closed' || box.state === 'restoring') return { kind: 'cancelled', detail: 'the sandbox was closed while the command ran' };
  return { kind: 'unknown', detail };
}

function counts({ written, kept }: KeptEnd): Readonly<Record<'stdout' | 'stderr', OutputCount>> {
  const count = (stream: 'stdout' | 'stderr'): OutputCount => ({
    written: Math.max(written[stream], kept[stream].bytes),
    returned: kept[stream].bytes,
    truncated: written[stream] > kept[stream].bytes,
    sha256: kept[stream].sha256,
  });
  return { stdout: count('stdout'), stderr: count('stderr') };
}

function namesAndValues(env: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(env.map((item) => [item.slice(0, item.indexOf('=')), item.slice(item.indexOf('=') + 1)]));
}

/** A command that ends within this time is waited for before its output is asked for: its end may bring all of it, and a connection costs more. */
const SHORT_MS = 15;

/** The whole output of a command that is short and says little; null of any other. */
async function wholeOf({ whole }: BoxExec): Promise<Awaited<BoxExec['whole']['promise']>> {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(late.resolve, SHORT_MS, null);
  return Promise.race([whole.promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Output from an offset on, and then the end. */
export async function* followExec(exec: BoxExec, { from, signal }: { readonly from: number; readonly signal: AbortSignal }, rooms: StayRooms): AsyncGenerator<ExecEvent> {
  let offset = 0;
  const whole = await wholeOf(exec);
  try {
    for await (const { stream, bytes } of whole ?? rooms.keeper.follow(exec.machine, exec.id, from, signal)) {
      const at = whole === null ? from + offset : offset;
      offset += bytes.length;
      const skipped = Math.max(0, from - at);
      if (skipped < bytes.length) yield { type: 'output', stream, offset: at + skipped, bytes: bytes.subarray(skipped) };
    }
  } catch (error) {
    // The launcher is gone, and the sandbox with it: the exec's own end says so. What was kept is gone as well.
    if (problemOf(error).code === 'OUTPUT_GONE') throw error;
  }
  if (signal.aborted) return;
  const info = await exec.ended;
  const { stdout, stderr } = info.output ?? { stdout: { returned: 0 }, stderr: { returned: 0 } };
  const reached = whole === null ? from + offset : offset;
  // An end says that everything was told: what was kept and cannot be read any more is no end.
  if (reached < stdout.returned + stderr.returned) throw new CaissonError('OUTPUT_GONE', { exec: exec.id });
  yield { type: 'end', exec: info };
}

import type { AllowedExec, AllowedSandbox } from '@caisson/authority';
import { exitStatus, type CreateRequest, type Denied, type Ending, type EntryDraft, type ExecRequest, type Json, type OutputCount, type RecordedSegment, type SandboxInfo, type Usage } from '@caisson/contract';
import type { BoxEnding } from './box.ts';
import { commandOf, commitment, programName, rulesOf, secretOf, SOURCE, usageBody, wellFormed } from './record.ts';

/** A sandbox that stays is about to be made, or refused. */
export function sandboxIntent(
  id: string,
  { caller, request, decision, digests }: { readonly caller: string; readonly request: CreateRequest; readonly decision: AllowedSandbox | Denied; readonly digests: { readonly request: string; readonly salt: string; readonly policy: string } },
): EntryDraft {
  const { effect, rule, reason } = decision;
  const allowed = decision.effect === 'allow' ? decision : null;
  const body: Json = {
    what: 'sandbox',
    caller,
    image: request.image ?? 'host',
    variables: Object.keys(request.env ?? {}).length,
    from: request.from ?? null,
    memory: request.memory === true,
    network: rulesOf(request),
    secrets: request.secrets ?? [],
    request: digests.request,
    policy: digests.policy,
    decision: { effect, rule, reason },
    level: allowed?.level ?? null,
    limits: allowed === null ? null : { ...allowed.limits },
    notEnforced: allowed?.notEnforced ?? [],
    ttlMs: allowed?.ttlMs ?? null,
    idleMs: allowed?.idleMs ?? null,
  };
  return { kind: 'intent', source: SOURCE, subject: id, body, secret: secretOf(caller, { salt: digests.salt, request: request as unknown as Json }, { body }) };
}

export function sandboxOutcome(id: string, ended: { readonly ending: BoxEnding; readonly level: SandboxInfo['level']; readonly spec: string | null; readonly usage: Usage | null }): EntryDraft {
  return {
    kind: 'outcome',
    source: SOURCE,
    subject: id,
    body: { ending: wellFormed({ ...ended.ending }), level: { ...ended.level }, spec: ended.spec, usage: ended.usage === null ? null : usageBody(ended.usage) },
  };
}

/** Something is about to be done to a sandbox. */
export function lifecycle(sandbox: string, event: string, body: { readonly [name: string]: Json } = {}): EntryDraft {
  return { kind: 'lifecycle', source: SOURCE, subject: sandbox, body: { event, ...body } };
}

/** A command is about to run in a sandbox that stays, or is refused. */
export function execIntent(
  id: string,
  { sandbox, tenant, caller, request, decision, digest, salt }: {
    readonly sandbox: string;
    /** Whose the sandbox is. */
    readonly tenant: string;
    readonly caller: string;
    readonly request: ExecRequest;
    readonly decision: AllowedExec | Denied;
    readonly digest: string;
    readonly salt: string;
  },
): EntryDraft {
  const { effect, rule, reason } = decision;
  const body: Json = {
    what: 'exec',
    sandbox,
    caller,
    program: programName(request),
    arguments: request.argv.length - 1,
    variables: Object.keys(request.env ?? {}).length,
    tty: request.tty !== undefined,
    request: digest,
    decision: { effect, rule, reason },
    limits: decision.effect === 'allow' ? { wallMs: decision.wallMs, cpuMs: decision.cpuMs, outputBytes: decision.outputBytes } : null,
  };
  return { kind: 'intent', source: SOURCE, subject: id, body, secret: secretOf(tenant, { salt, request: request as unknown as Json }, { body, alike: commandOf(request) }) };
}

/** A command goes on, in a sandbox that was started from saved memory. */
export function continuedIntent(id: string, { sandbox, caller, saved }: { readonly sandbox: string; readonly caller: string; readonly saved: { readonly id: string; readonly program: string; readonly digest: string } }): EntryDraft {
  return { kind: 'intent', source: SOURCE, subject: id, body: { what: 'exec', sandbox, caller, program: saved.program, request: saved.digest, continues: saved.id } };
}

interface ExecEnded {
  /** Whose the sandbox is. */
  readonly tenant: string;
  readonly ending: Ending;
  readonly output: Readonly<Record<'stdout' | 'stderr', OutputCount>> | null;
  readonly salt: string;
  /** Digests of its recording. Default: there is none. */
  readonly recording?: readonly RecordedSegment[];
}

export function execOutcome(id: string, { tenant, ending, output, salt, recording }: ExecEnded): EntryDraft {
  const count = (stream: OutputCount): Json => ({ written: stream.written, returned: stream.returned, commitment: commitment(salt, stream.sha256) });
  const body: Json = {
    ending: wellFormed({ ...ending }),
    exit: ending.kind === 'unknown' ? 'unknown' : exitStatus(ending),
    stdout: output === null ? null : count(output.stdout),
    stderr: output === null ? null : count(output.stderr),
    ...(recording === undefined ? {} : { recording: recording.map(({ bytes, sha256 }) => ({ bytes, sha256 })) }),
  };
  const secret = output === null ? undefined : secretOf(tenant, { salt, stdout: output.stdout.sha256, stderr: output.stderr.sha256 }, { body });
  return { kind: 'outcome', source: SOURCE, subject: id, body, ...(secret !== undefined && { secret }) };
}

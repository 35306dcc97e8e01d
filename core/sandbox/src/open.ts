import {
  exitStatus, problem, problemOf, reasonFor, type Allowed, type Decision, type Ending, type EntryDraft, type IsolationSpec,
  type Json, type NetworkState, type Problem, type Receipt, type RunRequest, type RunResult, type Usage,
} from '@caisson/contract';
import { decide } from '@caisson/authority';
import { compile, type Refusal } from '@caisson/isolation';
import type { ExecReport, Machine } from '@caisson/runtime';
import { attest } from './attest.ts';
import { credentialEnv, credentialsFor, effective, granted, NO_CREDENTIALS, releaseSecrets, withNetwork, type Credentials } from './credentials.ts';
import { denied, endingOf, failed, refused } from './ending.ts';
import { freshId } from './ids.ts';
import { Output } from './output.ts';
import { canonicalDigest, commitment, intentEntry, outcomeEntry } from './record.ts';
import type { Client, Rooms } from './rooms.ts';
import { stream } from './stream.ts';
import { startTimings, type Timings } from './timings.ts';

const NOTHING_USED: Usage = { cpuMs: null, memoryPeakBytes: null, pidsPeak: null, oomKills: null };
/** What a call may take beyond its wall time: its start, and its end. */
const GRACE_MS = 600_000;
const NOTHING_WRITTEN: ExecReport['written'] = { stdout: 0, stderr: 0 };

type Unrecorded = Omit<RunResult, 'evidence' | 'timings'>;
type Appended = { readonly receipt: Receipt } | { readonly problem: Problem };

/** What carrying out an allowed call came to. */
interface Conclusion {
  readonly ending: Ending;
  readonly usage: Usage;
  readonly written: ExecReport['written'];
  readonly level: Omit<RunResult['level'], 'requested'>;
  readonly spec: string | null;
  readonly network: NetworkState | null;
}

const NOT_STARTED = { usage: NOTHING_USED, written: NOTHING_WRITTEN, level: { delivered: null, runtime: null, kernel: null }, spec: null, network: null };

/**
 * One call, start to end: decide → intent → lease secrets → compile → launch → attest → admit to the network → stream → outcome → release. It never throws:
 * whatever goes wrong is the call's ending, and everything that was opened is closed on every path.
 */
export async function open(asked: RunRequest, client: Client, rooms: Rooms): Promise<RunResult> {
  const request = withNetwork(asked, rooms.policy.value);
  const timings = startTimings(rooms.now);
  const id = freshId('sbx', rooms.randomBytes);
  const salt = rooms.randomBytes(32).toString('hex');
  const digests = { request: commitment(salt, request as unknown as Json), salt, policy: rooms.policy.sha256, spec: null };
  const output = new Output(client);

  const decision = decide(request, rooms.policy.value);
  timings.mark('decide');

  const intent = await appendOrProblem(rooms, intentEntry(id, client.name, request, decision, digests));
  timings.mark('intent');

  const conclusion = await conclude();
  const { counts, ...usage } = conclusion.usage;
  const result: Unrecorded = {
    id,
    exit: conclusion.ending.kind === 'unknown' ? 'unknown' : exitStatus(conclusion.ending),
    reason: reasonFor(conclusion.ending),
    ending: conclusion.ending,
    level: { requested: requestedLevel(request, decision, rooms), ...conclusion.level },
    decision,
    digests: { ...digests, spec: conclusion.spec },
    usage,
    output: output.counts(conclusion.written),
    network: conclusion.network,
  };
  const entry = outcomeEntry(result, { caller: client.name, input: request.stdin === true ? output.input() : null, counts });
  const outcome = 'problem' in intent ? intent : await appendOrProblem(rooms, entry);
  timings.mark('outcome');
  if ('problem' in intent) rooms.doubts.addNotBegun(entry);
  else if ('problem' in outcome) rooms.doubts.add(entry);
  return withEvidence(result, intent, outcome, timings.all());

  async function conclude(): Promise<Conclusion> {
    if ('problem' in intent) return { ending: refused(intent.problem), ...NOT_STARTED };
    if (decision.effect === 'deny') return { ending: denied(decision), ...NOT_STARTED };
    return carryOut({ id, intent: intent.receipt.index, request, decision, client, output, timings }, rooms);
  }
}

/** No evidence, no success: what happened but is not on record is unknown to whoever relies on the record. */
function withEvidence(result: Unrecorded, intent: Appended, outcome: Appended, timings: RunResult['timings']): RunResult {
  if ('problem' in intent) return { ...result, evidence: { intent: null, outcome: null }, timings };
  if ('receipt' in outcome) return { ...result, evidence: { intent: intent.receipt, outcome: outcome.receipt }, timings };
  const ending: Ending = { kind: 'unknown', detail: `${result.reason}, but its outcome is not on record: ${outcome.problem.message}` };
  return { ...result, exit: 'unknown', reason: reasonFor(ending), ending, evidence: { intent: intent.receipt, outcome: null }, timings };
}

interface Call {
  readonly id: string;
  /** Index in the log of its intent. */
  readonly intent: number;
  readonly request: RunRequest;
  readonly decision: Allowed;
  readonly client: Client;
  readonly output: Output;
  readonly timings: Timings;
}

async function carryOut(call: Call, rooms: Rooms): Promise<Conclusion> {
  const { client, timings } = call;
  let machine: Machine | undefined;
  let credentials = NO_CREDENTIALS;
  let known: Pick<Conclusion, 'level' | 'spec'> = { level: NOT_STARTED.level, spec: null };
  try {
    credentials = await credentialsFor({ sandbox: call.id, request: call.request, expiresMs: rooms.wallMs() + call.decision.limits.wallMs + GRACE_MS }, rooms);
    const spec = await compileFor(call, credentials, rooms);
    if ('refused' in spec) return { ending: refused(spec.refused), ...NOT_STARTED };
    known = { ...known, spec: canonicalDigest(spec as unknown as Json) };
    timings.mark('compile');

    machine = await rooms.launch(spec, { signal: client.signal });
    timings.mark('launch');

    const { delivered, findings } = attest(spec, machine, await rooms.host({ again: false }));
    known = { ...known, level: { delivered, runtime: machine.runtime, kernel: machine.hello.kernel } };
    timings.mark('attest');
    if (delivered === null) return { ...NOT_STARTED, ...known, ending: failed(problem('ATTESTATION_FAILED', { findings: findings.join('; ') })) };

    await admit(call, machine, credentials, rooms);
    const report = await stream({ ...call, env: credentialEnv(credentials), limits: call.decision.limits }, machine);
    timings.mark('run');
    const network = machine.address === null ? null : await rooms.gate.dismiss(call.id);
    const usage = await machine.close().catch(() => NOTHING_USED);
    timings.mark('close');
    // What the command did before its caller went away is known, and stays known.
    const cut = client.signal.aborted && report.end.kind === 'lost';
    const ending: Ending = cut ? cancelled() : endingOf(report.end, usage, call.decision.limits, call.request);
    return { ending, usage, written: report.written, ...known, network };
  } catch (error) {
    return { ...NOT_STARTED, ...known, ending: client.signal.aborted ? cancelled() : failed(problemOf(error)) };
  } finally {
    if (machine !== undefined && machine.address !== null) await rooms.gate.dismiss(call.id);
    await machine?.close().catch(() => undefined);
    await releaseSecrets(call.id, credentials, rooms);
  }
}

/** A level that is missing may have become available since the host was measured: gVisor may have been built. */
async function compileFor({ id, intent, decision, request }: Call, credentials: Credentials, rooms: Rooms): Promise<IsolationSpec | Refusal> {
  const input = { id, decision, seccomp: rooms.seccomp, ...granted(request, credentials, { sandbox: id, intent, nowMs: rooms.wallMs() }) };
  const first = compile({ ...input, host: await rooms.host({ again: false }) });
  if (!('refused' in first) || first.refused.code !== 'LEVEL_UNAVAILABLE') return first;
  return compile({ ...input, host: await rooms.host({ again: true }) });
}

/** A sandbox speaks from here on, and to nobody before. */
async function admit({ id, client, request: { network } }: Call, { address }: Machine, { authority, leases }: Credentials, rooms: Rooms): Promise<void> {
  if (network !== undefined && address !== null) await rooms.gate.admit({ sandbox: id, caller: client.name, address, network: effective(network, leases), authority, leases });
}

function cancelled(): Ending {
  return { kind: 'cancelled', detail: problem('CANCELLED', { detail: 'the caller went away' }).message };
}

/** No evidence, no effect: a failure to append is a value that the caller of this function must deal with. */
async function appendOrProblem(rooms: Rooms, draft: EntryDraft): Promise<Appended> {
  return rooms.evidence.append(draft).then((receipt) => ({ receipt }), (error: unknown) => ({ problem: problemOf(error) }));
}

function requestedLevel(request: RunRequest, decision: Decision, rooms: Rooms): RunResult['level']['requested'] {
  return decision.effect === 'allow' ? decision.level : (request.level ?? rooms.policy.value.levels.default);
}

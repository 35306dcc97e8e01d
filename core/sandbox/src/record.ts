import { hash } from 'node:crypto';
import {
  canonicalJson, exitStatus, ruleName, sealable, type AlertName, type Counts, type Decision, type EntryDraft, type Json, type NetworkRequest, type OutputCount, type RunRequest, type RunResult, type Secret, type Usage,
} from '@caisson/contract';
import type { InputCount } from './output.ts';
import type { Rooms } from './rooms.ts';

export const SOURCE = 'control';

export function sha256(...parts: readonly (string | Buffer)[]): string {
  return hash('sha256', parts.every((part) => typeof part === 'string') ? parts.join('') : Buffer.concat(parts.map((part) => Buffer.from(part))));
}

/** SHA-256 of a value's canonical JSON. */
export function canonicalDigest(value: Json): string {
  return sha256(canonicalJson(value));
}

/** Identifies a value without giving away a guess at it: whoever lacks the salt cannot try candidates. */
export function commitment(salt: string, value: Json): string {
  return sha256('caisson-commitment-v1\n', salt, '\n', canonicalJson(value));
}

/** What is about to be done, or refused. Arguments and values of variables may be secrets: in the open there are only commitments. */
export function intentEntry(id: string, caller: string, request: RunRequest, decision: Decision, digests: RunResult['digests']): EntryDraft {
  const { effect, rule, reason } = decision;
  const body: Json = {
    caller,
    program: programName(request),
    arguments: request.argv.length - 1,
    variables: Object.keys(request.env ?? {}).length,
    request: digests.request,
    policy: digests.policy,
    decision: { effect, rule, reason },
    level: decision.effect === 'allow' ? decision.level : null,
    limits: decision.effect === 'allow' ? { ...decision.limits } : null,
    network: rulesOf(request),
    secrets: request.secrets ?? [],
    notEnforced: decision.effect === 'allow' ? decision.notEnforced : [],
  };
  return { kind: 'intent', source: SOURCE, subject: id, body, secret: secretOf(caller, { salt: digests.salt, request: request as unknown as Json }, { body, alike: commandOf(request) }) };
}

/** What only holders of a key read: what commitments of the body are of, and their salt. The tenant is whose sandbox it is. */
export function secretOf(tenant: string, value: { readonly [name: string]: Json }, { body, alike }: { readonly body: Json; readonly alike?: Json }): Secret {
  return { tenant, value: sealable(value, body), ...(alike !== undefined && { alike }) };
}

/** What makes two commands the same, whatever they are run in. */
export function commandOf({ argv, env = {}, cwd = null }: Pick<RunRequest, 'argv' | 'env'> & { readonly cwd?: string | null | undefined }): Json {
  return [argv, env, cwd];
}

/** Names of the rules that are asked for; null: no network is. */
export function rulesOf({ network }: Pick<RunRequest, 'network'>): readonly string[] | null {
  return network === undefined ? null : ruleNames(network);
}

/** Names of the rules; whoever may learn has one more. */
export function ruleNames({ rules, learn }: NetworkRequest): readonly string[] {
  return [...rules.map(ruleName), ...(learn === true ? ['learn'] : [])];
}

/** The program's name is recorded as it is: it is what an auditor looks for, and no place for a secret. */
export function programName(request: Pick<RunRequest, 'argv'>): string {
  return (request.argv[0] ?? '').slice(0, 256).toWellFormed();
}

/** @param about who called, what was counted, and what of its input was handed to the command; null: it was given none */
export function outcomeEntry(result: Omit<RunResult, 'evidence' | 'timings'>, { caller, input, counts }: { readonly caller: string; readonly input: InputCount | null; readonly counts: Counts | undefined }): EntryDraft {
  const { id, ending, level, digests, usage, output } = result;
  const { salt } = digests;
  const count = (stream: OutputCount): Json => ({
    written: stream.written,
    returned: stream.returned,
    commitment: commitment(salt, stream.sha256),
  });
  const body: Json = {
    ending: wellFormed({ ...ending }),
    exit: ending.kind === 'unknown' ? 'unknown' : exitStatus(ending),
    level: { ...level },
    spec: digests.spec,
    usage: usageBody(counts === undefined ? usage : { ...usage, counts }),
    stdin: input === null ? null : { taken: input.taken, commitment: commitment(salt, input.sha256) },
    stdout: count(output.stdout),
    stderr: count(output.stderr),
  };
  const secret = { salt, stdin: input?.sha256 ?? null, stdout: output.stdout.sha256, stderr: output.stderr.sha256 };
  return { kind: 'outcome', source: SOURCE, subject: id, body, secret: secretOf(caller, secret, { body }) };
}

/** What a sandbox used, and what was counted of it. */
export function usageBody({ counts, ...usage }: Usage): Json {
  return { ...usage, ...(counts === undefined ? {} : { counts: { ...counts } }) };
}

/** Text of a runtime or kernel may hold anything; the log holds well-formed text of bounded length. */
export function wellFormed(value: { readonly [name: string]: string | number }): Json {
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, typeof field === 'string' ? field.toWellFormed().slice(0, 4_000) : field]));
}

/** Subjects that one entry names at most. */
const MAX_NAMED = 1_000;
const MAX_ALERTED = 100;

/**
 * Gives every intent that has no outcome the outcome `unknown`, but for those that go on, which are put on record, too; and raises an
 * alert before, so that no end of this process leaves outcomes without it. Called when no call is under way.
 */
export async function reconcile(evidence: Rooms['evidence'], detail: string, goingOn: ReadonlySet<string> = new Set()): Promise<readonly string[]> {
  const open = await evidence.openIntents();
  const subjects = open.filter((subject) => !goingOn.has(subject));
  if (subjects.length > 0) await evidence.append(orphans(subjects, detail));
  for (const subject of subjects) {
    await evidence.append({ kind: 'outcome', source: SOURCE, subject, body: { ending: { kind: 'unknown', detail }, exit: 'unknown' } });
  }
  const kept = open.filter((subject) => goingOn.has(subject));
  for (let at = 0; at < kept.length; at += MAX_NAMED) {
    await evidence.append({ kind: 'lifecycle', source: SOURCE, subject: SOURCE, body: { event: 'go-on', goingOn: kept.slice(at, at + MAX_NAMED) } });
  }
  return subjects;
}

function orphans(subjects: readonly string[], detail: string): EntryDraft {
  const count = subjects.length;
  const reason = `${detail}: what became of ${count === 1 ? 'one intent' : `${count} intents`} is unknown`;
  return { kind: 'alert', source: SOURCE, subject: SOURCE, body: { alert: 'orphan-intents' satisfies AlertName, severity: 'warning', about: subjects.slice(0, MAX_ALERTED), count, reason } };
}

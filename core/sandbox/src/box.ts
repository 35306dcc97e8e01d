import {
  CaissonError, isOver, type IsolationSpec, nextState, type Ending, type ExecInfo, type ExecRequest, type CreateRequest, type Limits, type NetworkRequest, type Receipt, type RunResult,
  type SandboxEvent, type SandboxInfo, type SandboxState,
} from '@caisson/contract';
import type { AllowedSandbox } from '@caisson/authority';
import { NO_CREDENTIALS, secretsThere, type Credentials } from './credentials.ts';
import type { SnapshotInfo } from './service.ts';

/** One command in a sandbox that stays. */
export interface BoxExec {
  readonly id: string;
  readonly program: string;
  readonly tty: boolean;
  readonly salt: string;
  /** Under which the same start is the same exec; null: none was given. */
  readonly key: string | null;
  readonly request: Pick<ExecRequest, 'argv' | 'cwd'>;
  readonly startedMs: number;
  readonly intent: Receipt;
  /** Its own limits. Default, of one that a former control noted without: those of the sandbox. */
  readonly limits?: Pick<Limits, 'wallMs' | 'cpuMs'>;
  /** The sandbox of the launcher that it runs in. */
  readonly machine: string;
  /** Its whole output where that is little, as soon as it has ended; null where it has to be asked for. */
  whole: PromiseWithResolvers<readonly { readonly stream: 'stdout' | 'stderr'; readonly bytes: Buffer }[] | null>;
  /** Resolves when its outcome is on record, or cannot be. */
  ended: Promise<ExecInfo>;
  info: ExecInfo;
}

/** What is fixed when a sandbox is made, and noted with the launcher so that control finds it again. */
export interface BoxFacts {
  readonly id: string;
  readonly request: CreateRequest;
  readonly caller: string;
  readonly decision: AllowedSandbox;
  readonly digests: RunResult['digests'];
  readonly workspace: { readonly id: string; readonly name: string | null };
  /** Digest of the image, or `host`. */
  readonly image: IsolationSpec['image'];
  readonly imageEnv: readonly string[];
  readonly createdMs: number;
  readonly warm: boolean;
  readonly intent: Receipt;
  readonly key: string | null;
  /** Digest of what was asked for, by which the same request is known again under its key. */
  readonly asked: string;
}

/** How a sandbox came to its end. */
export interface BoxEnd {
  readonly state: SandboxState;
  readonly reason: string;
  readonly endedMs: number;
  readonly outcome: Receipt | null;
}

/** Keys of snapshots that are remembered. */
const SNAPSHOTS_REMEMBERED = 64;
/** Execs of one sandbox that are remembered, running ones apart: as many as the launcher keeps the output of. */
const EXECS_REMEMBERED = 64;
/** Execs of one sandbox whose whole output is held here as well, so that who asks at once is answered at once. */
const OUTPUTS_REMEMBERED = 4;
const NOT_HELD: BoxExec['whole'] = { promise: Promise.resolve(null), resolve: () => undefined, reject: () => undefined };

/** A sandbox that stays, as control knows it. */
export class Box {
  #facts: BoxFacts;
  readonly #wallMs: () => number;
  /** The sandbox of the launcher that is behind it now; another after a restore. */
  machine: string;
  expiresMs: number;
  idleMs: number | null;
  /** What it may reach now; null: it has no network. */
  network: NetworkRequest | null;
  /** By which the gate reads its requests and puts secrets into them. */
  credentials: Credentials = NO_CREDENTIALS;
  /** IPv4 address of its link, as of when it was last admitted to the network; null: it never was. */
  address: string | null = null;
  #lastChange: Promise<unknown> = Promise.resolve();
  /** Snapshots that something is made from, and that nobody asked for: they go with what is made, or with control. */
  passing: readonly string[] = [];
  lastUsedMs: number;
  /** Connections, and work on its files, under way. */
  uses = 0;
  level: SandboxInfo['level'];
  spec: string | null = null;
  outcome: Receipt | null = null;
  timings: RunResult['timings'] = {};
  readonly execs = new Map<string, BoxExec>();
  /** Of those that ended last: they hold their whole output. */
  readonly #outputs: BoxExec[] = [];
  readonly execKeys = new Map<string, { same(request: ExecRequest): boolean; id: string | null; readonly exec: Promise<ExecInfo> }>();
  readonly snapshotKeys = new Map<string, { readonly request: string; readonly snapshot: Promise<SnapshotInfo> }>();
  #state: SandboxState = 'creating';
  #reason = 'it is being started';
  #endedMs: number | null = null;
  readonly #over = Promise.withResolvers<void>();

  /** @param wallMs wall time in milliseconds since 1970 UTC */
  constructor(facts: BoxFacts, wallMs: () => number) {
    this.#facts = facts;
    this.#wallMs = wallMs;
    this.machine = facts.id;
    this.expiresMs = facts.createdMs + facts.decision.ttlMs;
    this.idleMs = facts.decision.idleMs;
    this.network = facts.request.network ?? null;
    this.lastUsedMs = facts.createdMs;
    this.level = { requested: facts.decision.level, delivered: null, runtime: null, kernel: null };
  }

  get facts(): BoxFacts {
    return this.#facts;
  }

  get state(): SandboxState {
    return this.#state;
  }

  get over(): boolean {
    return isOver(this.#state);
  }

  /** Resolves when it is closed or lost, and that is on record or cannot be. */
  get whenOver(): Promise<void> {
    return this.#over.promise;
  }

  /** Holds whoever needs it in one state to that. @throws CaissonError SANDBOX_STATE */
  mustBe(state: SandboxState, verb: string): void {
    if (this.#state !== state) throw this.#cannot(verb);
  }

  /** Takes a transition of the table. @throws CaissonError SANDBOX_STATE when it is not in it */
  move(event: SandboxEvent, reason: string): void {
    const next = nextState(this.#state, event);
    if (next === null) throw this.#cannot(event);
    this.#state = next;
    this.#reason = reason;
  }

  /** Whether the event is possible now. */
  can(event: SandboxEvent): boolean {
    return nextState(this.#state, event) !== null;
  }

  #cannot(verb: string): CaissonError {
    return new CaissonError('SANDBOX_STATE', { sandbox: this.#facts.id, state: this.#state, detail: `${verb} (${this.#reason})` });
  }

  /** Makes one change of what it may reach, by rules or secrets, after the other: each puts back what it found when it fails. */
  inTurn<T>(change: () => Promise<T>): Promise<T> {
    const made = this.#lastChange.then(change);
    this.#lastChange = made.catch(() => undefined);
    return made;
  }

  /** Takes over the end that was noted of it. */
  conclude({ state, reason, endedMs, outcome }: BoxEnd): void {
    this.#state = state;
    this.#reason = reason;
    this.outcome = outcome;
    this.settle(endedMs);
  }

  /** How it ended; null while it has not. */
  get end(): BoxEnd | null {
    return this.#endedMs === null ? null : { state: this.#state, reason: this.#reason, endedMs: this.#endedMs, outcome: this.outcome };
  }

  /** Tells whoever waits that nothing more will happen to it. Of what it was made from only what is told of it is kept. */
  settle(endedMs: number): void {
    this.#endedMs = endedMs;
    this.#facts = { ...this.#facts, request: told(this.#facts.request), imageEnv: [] };
    this.credentials = NO_CREDENTIALS;
    this.snapshotKeys.clear();
    for (const exec of this.execs.values()) exec.whole = NOT_HELD; // the launcher has it
    this.#outputs.length = 0;
    this.#over.resolve();
  }

  use(nowMs: number): void {
    this.lastUsedMs = nowMs;
  }

  /** In use until this is disposed of; idle time begins then. */
  hold(nowMs: () => number): Disposable {
    let done = false;
    this.uses += 1;
    return {
      [Symbol.dispose]: () => {
        if (done) return;
        done = true;
        this.uses -= 1;
        this.use(nowMs());
      },
    };
  }

  /** In use for as long as the work takes: putting on record what is asked may take longer than it may be idle. */
  during<T>(nowMs: () => number, work: Promise<T>): Promise<T> {
    const use = this.hold(nowMs);
    return work.finally(() => use[Symbol.dispose]());
  }

  /** What failed may be tried again, and only the latest are remembered. */
  keepSnapshot(key: string, taken: { readonly request: string; readonly snapshot: Promise<SnapshotInfo> }): void {
    this.snapshotKeys.set(key, taken);
    taken.snapshot.catch(() => this.snapshotKeys.delete(key));
    const [oldest] = this.snapshotKeys.keys();
    if (this.snapshotKeys.size > SNAPSHOTS_REMEMBERED && oldest !== undefined) this.snapshotKeys.delete(oldest);
  }

  /** Of what has ended only so much is remembered: with the oldest execs go their keys. */
  hasEnded(exec: BoxExec): void {
    this.#outputs.push(exec);
    const older = this.#outputs.length > OUTPUTS_REMEMBERED ? this.#outputs.shift() : undefined;
    if (older !== undefined) older.whole = NOT_HELD; // the launcher has it
    for (const oldest of this.execs.values()) {
      if (this.execs.size <= EXECS_REMEMBERED) return;
      if (oldest.info.state !== 'ended') continue;
      this.execs.delete(oldest.id);
      if (oldest.key !== null && this.execKeys.get(oldest.key)?.id === oldest.id) this.execKeys.delete(oldest.key);
    }
  }

  get running(): readonly BoxExec[] {
    return [...this.execs.values()].filter(({ info }) => info.state === 'running');
  }

  info(): SandboxInfo {
    const { id, request, decision, workspace, image, createdMs, warm, intent } = this.#facts;
    const { effect, rule, reason, level, limits, notEnforced } = decision;
    return {
      id,
      name: request.name ?? null,
      labels: request.labels ?? {},
      state: this.#state,
      reason: this.#reason,
      level: this.level,
      image,
      limits,
      notEnforced,
      terminals: request.terminals ?? true,
      auditMirror: request.auditMirror ?? false,
      network: this.network,
      secrets: secretsThere(this.credentials, this.#wallMs()),
      workspace,
      createdMs,
      endedMs: this.#endedMs,
      expiresMs: this.expiresMs,
      idleMs: this.idleMs,
      running: this.running.map((exec) => exec.id),
      warm,
      decision: { effect, rule, reason, level, limits, notEnforced },
      evidence: { intent, outcome: this.outcome },
      timings: this.timings,
    };
  }
}

/** What of a request is told of its sandbox. An environment alone may be megabytes. */
function told({ name, labels, terminals, auditMirror }: CreateRequest): CreateRequest {
  return { ...(name !== undefined && { name }), ...(labels !== undefined && { labels }), ...(terminals !== undefined && { terminals }), ...(auditMirror !== undefined && { auditMirror }) };
}

/** An exec that has not ended. */
export function runningInfo(exec: Pick<BoxExec, 'id' | 'program' | 'tty' | 'startedMs' | 'intent'>, sandbox: string): ExecInfo {
  const { id, program, tty, startedMs, intent } = exec;
  return {
    id, sandbox, program, state: 'running', tty, startedMs, endedMs: null, ending: null, exit: null, reason: null, output: null,
    evidence: { intent, outcome: null },
  };
}

/** How a sandbox that stays ended. */
export type BoxEnding =
  | { readonly kind: 'closed'; readonly detail: string }
  | Extract<Ending, { readonly kind: 'refused' | 'failed' | 'unknown' | 'out-of-memory' }>;

import type { Duplex } from 'node:stream';
import {
  CaissonError, canonicalJson, type ApprovalAnswer, type Decided, type HeldAttempt, type CreateRequest, type ExecEvent, type ExecInfo, type ExecRequest, type Json, type LiveUsage, type NetworkInfo, type NetworkRequest, type SandboxInfo, type SecretInfo,
  type TerminalSize,
} from '@caisson/contract';
import { decideRenewal, sandboxRules } from '@caisson/authority';
import { decideApproval } from './approvals.ts';
import type { Box, BoxExec } from './box.ts';
import { closeBox, watchBox } from './close.ts';
import { create, type Creation } from './create.ts';
import { Expiry } from './expiry.ts';
import { digestOf, made as madeOf } from './fork-request.ts';
import { inUse } from './holder.ts';
import { freshId, keyedId } from './ids.ts';
import { changeNetwork, networkOf } from './network.ts';
import { revokeSecret, rotateSecret, secretsIn } from './secrets.ts';
import { noteOf } from './note.ts';
import { canonicalDigest } from './record.ts';
import { restore } from './restore.ts';
import type { Asking, ForkRequest, Renewal, SandboxService, SnapshotInfo, SnapshotOptions } from './service.ts';
import { takeSnapshot, withPassing } from './snapshot.ts';
import { followExec, startExec } from './stay-exec.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';
import type { WarmPool } from './warm-pool.ts';

/** Ended sandboxes that are remembered; the oldest go first. */
const REMEMBERED = 1_000;

interface Made {
  /** Digest of the request. */
  readonly asked: string;
  readonly box: Promise<Box>;
}

/** The sandboxes that stay of one control. They go on when it dies, and `adopt` finds them again; when it is asked to stop they are closed. */
export class Sandboxes implements SandboxService, AsyncDisposable {
  readonly #rooms: StayRooms;
  readonly #pool: WarmPool;
  readonly #boxes = new Map<string, Box>();
  readonly #byKey = new Map<string, Made>();
  readonly #expiry: Expiry;
  /** Names that are being taken. */
  readonly #naming = new Set<string>();
  #starting = 0;

  constructor(rooms: StayRooms, pool: WarmPool) {
    this.#rooms = rooms;
    this.#pool = pool;
    this.#expiry = new Expiry(rooms.wallMs, (box, why) => void closeBox(box, why, this.#rooms).catch(() => undefined));
  }

  /** Takes in a sandbox that went on while there was no control. */
  adopt(box: Box): void {
    this.#remember(box);
    const { key, asked } = box.facts;
    if (key !== null) this.#byKey.set(key, { asked, box: Promise.resolve(box) });
    if (!box.over) this.#live(box);
  }

  #remember(box: Box): void {
    this.#boxes.set(box.facts.id, box);
    const over = [...this.#boxes.values()].filter((each) => each.over);
    for (const { facts } of over.slice(0, Math.max(0, over.length - REMEMBERED))) {
      this.#boxes.delete(facts.id);
      if (facts.key !== null) this.#byKey.delete(facts.key);
    }
  }

  #live(box: Box): void {
    this.#expiry.watch(box);
    watchBox(box, this.#rooms);
    void box.whenOver.then(() => this.#expiry.forget(box));
  }

  #find(sandbox: string): Box {
    const byName = (): Box | undefined => [...this.#boxes.values()].find((box) => !box.over && box.facts.request.name === sandbox);
    const box = this.#boxes.get(sandbox) ?? byName();
    if (box === undefined) throw new CaissonError('SANDBOX_NOT_FOUND', { sandbox });
    return box;
  }

  #exec(sandbox: string, exec: string): BoxExec {
    const box = this.#find(sandbox);
    const found = box.execs.get(exec);
    if (found === undefined) throw new CaissonError('EXEC_NOT_FOUND', { sandbox: box.facts.id, exec });
    return found;
  }

  /** A sandbox that runs, used now. */
  #running(sandbox: string, verb: string): Box {
    const box = this.#find(sandbox);
    box.mustBe('running', verb);
    box.use(this.#rooms.wallMs());
    return box;
  }

  get live(): number {
    return [...this.#boxes.values()].filter((box) => !box.over).length;
  }

  async create(request: CreateRequest, asking: Asking): Promise<SandboxInfo> {
    return (await this.#create(request, asking, null)).info();
  }

  /** What the same request with the same key has made. @throws CaissonError IDEMPOTENCY_MISMATCH */
  #made(asking: Asking, asked: string): Promise<Box> | undefined {
    const made = asking.key === undefined ? undefined : this.#byKey.get(asking.key);
    if (made !== undefined && made.asked !== asked) throw mismatch(asking);
    return made?.box;
  }

  /** @throws CaissonError SANDBOX_NAME_TAKEN */
  #checkName(name: string): void {
    const holder = [...this.#boxes.values()].find((box) => !box.over && box.facts.request.name === name);
    if (holder !== undefined || this.#naming.has(name)) throw new CaissonError('SANDBOX_NAME_TAKEN', { name, sandbox: holder?.facts.id ?? 'one that is being created' });
  }

  #create(request: CreateRequest, asking: Asking, from: string | null, asked = digestOf(request, from)): Promise<Box> {
    const { caller, key, freshWorkspace = false } = asking;
    const made = this.#made(asking, asked);
    if (made !== undefined) return made;
    if (request.name !== undefined) this.#checkName(request.name);
    const box = this.#make({ request, caller, key: key ?? null, from, asked, freshWorkspace });
    if (key !== undefined) {
      this.#byKey.set(key, { asked, box });
      box.catch(() => this.#byKey.delete(key)); // what failed may be tried again
    }
    return box;
  }

  async #make(wanted: Pick<Creation, 'request' | 'caller' | 'key' | 'from' | 'asked' | 'freshWorkspace'>): Promise<Box> {
    const { request, from } = wanted;
    this.#starting += 1;
    if (request.name !== undefined) this.#naming.add(request.name);
    let known: Box | undefined;
    try {
      const box = await create({
        ...wanted,
        live: this.live + this.#starting - 1,
        claim: (asked, decision, image) => (from === null ? this.#pool.claim(asked, decision, image) : null),
        onBox: (made) => {
          known = made;
          this.#starting -= 1;
          this.#remember(made);
        },
      }, this.#rooms);
      this.#live(box);
      return box;
    } catch (error) {
      throw inUse(error, request.workspace, this.list());
    } finally {
      if (known === undefined) this.#starting -= 1;
      if (request.name !== undefined) this.#naming.delete(request.name);
    }
  }

  list(): readonly SandboxInfo[] {
    return [...this.#boxes.values()].map((box) => box.info()).toReversed();
  }

  get(sandbox: string): SandboxInfo {
    return this.#find(sandbox).info();
  }

  async usage(sandbox: string): Promise<LiveUsage> {
    const box = this.#find(sandbox);
    if (box.state !== 'paused') box.mustBe('running', 'reading its usage');
    return this.#rooms.keeper.usage(box.machine);
  }

  renew(sandbox: string, { ttlMs, idleMs, keepAlive }: Renewal): SandboxInfo {
    const box = this.#find(sandbox);
    const nowMs = this.#rooms.wallMs();
    if (box.over) box.mustBe('running', 'renewing it');
    const denied = decideRenewal({ ttlMs, idleMs }, this.#rooms.policy.value);
    if (denied !== null) throw new CaissonError(denied.code, denied.context);
    if (ttlMs !== undefined) box.expiresMs = nowMs + ttlMs;
    if (keepAlive === true) box.idleMs = null;
    else if (idleMs !== undefined) box.idleMs = idleMs;
    else if (keepAlive === false) box.idleMs ??= box.facts.decision.idleMs ?? sandboxRules(this.#rooms.policy.value).idleMs.default;
    box.use(nowMs);
    this.#expiry.watch(box);
    void this.#rooms.keeper.note(box.machine, noteOf(box)).catch(() => undefined);
    return box.info();
  }

  async networkState(sandbox: string): Promise<NetworkInfo> {
    return networkOf(this.#find(sandbox), this.#rooms);
  }

  approvals(): Promise<readonly HeldAttempt[]> {
    return this.#rooms.gate.held();
  }

  decideApproval(approval: string, answer: ApprovalAnswer, { caller }: Asking): Promise<Decided> {
    return decideApproval({ approval, answer, caller }, this.#rooms);
  }

  async secrets(sandbox: string): Promise<readonly SecretInfo[]> {
    return secretsIn(this.#find(sandbox), this.#rooms);
  }

  async revokeSecret(sandbox: string, secret: string, { caller }: Asking): Promise<SandboxInfo> {
    return revokeSecret(this.#find(sandbox), { secret, caller }, this.#rooms);
  }

  async rotateSecret(secret: string, { caller }: Asking): Promise<readonly string[]> {
    return rotateSecret([...this.#boxes.values()], { secret, caller }, this.#rooms);
  }

  async changeNetwork(sandbox: string, network: NetworkRequest, { caller }: Asking): Promise<NetworkInfo> {
    return changeNetwork(this.#find(sandbox), { network, caller }, this.#rooms);
  }

  async pause(sandbox: string, { caller }: Asking): Promise<SandboxInfo> {
    const box = this.#running(sandbox, 'pause');
    await this.#rooms.evidence.append(lifecycle(box.facts.id, 'pause', { caller }));
    await this.#rooms.keeper.pause(box.machine);
    box.move('pause', `paused by ${caller}`);
    return box.info();
  }

  async resume(sandbox: string, { caller }: Asking): Promise<SandboxInfo> {
    const box = this.#find(sandbox);
    box.mustBe('paused', 'resume');
    await this.#rooms.evidence.append(lifecycle(box.facts.id, 'resume', { caller }));
    await this.#rooms.keeper.resume(box.machine);
    box.move('resume', 'it runs');
    box.use(this.#rooms.wallMs());
    this.#expiry.watch(box);
    return box.info();
  }

  async close(sandbox: string, { caller }: Asking): Promise<SandboxInfo> {
    const box = this.#find(sandbox);
    await closeBox(box, `closed by ${caller}`, this.#rooms);
    return box.info();
  }

  async exec(sandbox: string, request: ExecRequest, asking: Asking): Promise<ExecInfo> {
    const { caller, key, follows = false } = asking;
    const box = this.#find(sandbox);
    box.use(this.#rooms.wallMs());
    const known = key === undefined ? undefined : box.execKeys.get(key);
    if (known !== undefined && !known.same(request)) throw mismatch(asking);
    if (known !== undefined) return box.execs.get((await known.exec).id)?.info ?? known.exec;
    box.mustBe('running', 'an exec'); // what was started may be asked for again in every state
    const exec = box.during(this.#rooms.wallMs, startExec(box, request, { caller, key: key ?? null, follows }, this.#rooms));
    if (key !== undefined) {
      const made = { same: sameAs(canonicalDigest(request as unknown as Json)), id: null as string | null, exec };
      box.execKeys.set(key, made);
      exec.then(({ id }) => (made.id = id), () => box.execKeys.delete(key));
    }
    return exec;
  }

  execs(sandbox: string): readonly ExecInfo[] {
    return [...this.#find(sandbox).execs.values()].map(({ info }) => info);
  }

  execInfo(sandbox: string, exec: string): ExecInfo {
    return this.#exec(sandbox, exec).info;
  }

  follow(sandbox: string, exec: string, { from = 0, signal }: { readonly from?: number; readonly signal: AbortSignal }): AsyncIterable<ExecEvent> {
    return followExec(this.#exec(sandbox, exec), { from, signal }, this.#rooms);
  }

  recording(sandbox: string, exec: string, { signal }: { readonly signal: AbortSignal }): AsyncIterable<Buffer> {
    return this.#rooms.keeper.recording(this.#exec(sandbox, exec).machine, exec, signal);
  }

  async wait(sandbox: string, exec: string, { signal }: { readonly signal: AbortSignal }): Promise<ExecInfo> {
    const { ended } = this.#exec(sandbox, exec);
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    return Promise.race([ended, aborted.promise]).finally(() => signal.removeEventListener('abort', abort));
  }

  async stdin(sandbox: string, exec: string, bytes: Buffer, { offset }: { readonly offset?: number }): Promise<number> {
    const { machine } = this.#exec(sandbox, exec);
    return this.#rooms.keeper.stdin(machine, exec, offset ?? null, bytes);
  }

  async endStdin(sandbox: string, exec: string): Promise<void> {
    const { machine } = this.#exec(sandbox, exec);
    await this.#rooms.keeper.endStdin(machine, exec);
  }

  async signal(sandbox: string, exec: string, signal: number): Promise<void> {
    const { machine } = this.#exec(sandbox, exec);
    if (signal === 9) await this.#rooms.keeper.kill(machine, exec);
    else await this.#rooms.keeper.signal(machine, exec, signal);
  }

  async resize(sandbox: string, exec: string, size: TerminalSize): Promise<void> {
    const { machine } = this.#exec(sandbox, exec);
    await this.#rooms.keeper.resize(machine, exec, size);
  }

  use(sandbox: string): Disposable {
    return this.#find(sandbox).hold(this.#rooms.wallMs);
  }

  async dial(sandbox: string, port: number, { caller }: Asking): Promise<Duplex> {
    const box = this.#running(sandbox, 'a connection');
    const use = box.hold(this.#rooms.wallMs);
    try {
      await this.#rooms.evidence.append(lifecycle(box.facts.id, 'dial', { caller, port }));
      return (await this.#rooms.keeper.dial(box.machine, port)).once('close', () => use[Symbol.dispose]());
    } catch (error) {
      use[Symbol.dispose]();
      throw error;
    }
  }

  async files(sandbox: string, { caller }: Asking): Promise<Duplex> {
    const box = this.#find(sandbox);
    if (box.state !== 'paused') box.mustBe('running', 'access to its files');
    await box.during(this.#rooms.wallMs, this.#rooms.evidence.append(lifecycle(box.facts.id, 'files', { caller })));
    return this.#rooms.keeper.files(box.machine);
  }

  async snapshot(sandbox: string, options: SnapshotOptions, asking: Asking): Promise<SnapshotInfo> {
    const { caller, key } = asking;
    const box = this.#find(sandbox);
    const request = canonicalJson(options as Json);
    const known = key === undefined ? undefined : box.snapshotKeys.get(key);
    if (known !== undefined && known.request !== request) throw mismatch(asking);
    if (known !== undefined) return known.snapshot;
    const snapshot = this.#snapshot(box, options, caller, key === undefined ? undefined : keyedId('lay', [box.facts.id, key, request]));
    if (key !== undefined) box.keepSnapshot(key, { request, snapshot });
    return snapshot;
  }

  async #snapshot(box: Box, { label, memory = false }: SnapshotOptions, caller: string, layer = freshId('lay', this.#rooms.randomBytes)): Promise<SnapshotInfo> {
    if (box.state !== 'paused' || memory) box.mustBe('running', memory ? 'a snapshot of its memory' : 'a snapshot');
    if (memory && box.network !== null) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: box.facts.decision.level, why: 'a sandbox that has a network has connections, which no other can go on with' });
    if (memory && box.credentials.hadFiles === true) throw new CaissonError('CHECKPOINT_UNAVAILABLE', { level: box.facts.decision.level, why: 'processes of a sandbox that has had files of secrets may hold what they read' });
    await this.#rooms.evidence.append(lifecycle(box.facts.id, 'snapshot', { caller, layer, memory }));
    return takeSnapshot(box, { layer, memory, ...(label === undefined ? {} : { label }) }, this.#rooms);
  }

  async fork(sandbox: string, { memory = false, ...request }: ForkRequest, asking: Asking): Promise<SandboxInfo> {
    const box = this.#find(sandbox);
    // Neither rules that were changed meanwhile nor the end of its original make the same request another.
    const asked = digestOf({ ...request, memory }, box.facts.id);
    const made = this.#made(asking, asked);
    if (made !== undefined) return (await made).info();
    if (box.state !== 'paused' || memory) box.mustBe('running', 'a fork');
    const wanted = madeOf(box, request, this.#rooms.wallMs());
    if (!memory) {
      await this.#rooms.evidence.append(lifecycle(box.facts.id, 'fork', { caller: asking.caller }));
      return (await this.#create(wanted, asking, box.facts.workspace.id, asked)).info();
    }
    const from = freshId('lay', this.#rooms.randomBytes);
    return withPassing(box, from, async () => {
      await this.#snapshot(box, { memory }, asking.caller, from);
      return (await this.#create({ ...wanted, from, memory }, asking, null, asked)).info();
    }, this.#rooms);
  }

  async restore(sandbox: string, snapshot: string, { caller }: Asking): Promise<SandboxInfo> {
    const box = this.#find(sandbox);
    await restore(box, snapshot, caller, this.#rooms);
    this.#live(box);
    return box.info();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#expiry[Symbol.dispose]();
    await Promise.all([...this.#boxes.values()].map((box) => closeBox(box, 'Caisson is stopping', this.#rooms).catch(() => undefined)));
    await this.#pool[Symbol.asyncDispose]();
    this.#rooms.leavings[Symbol.dispose]();
  }
}

function mismatch({ key = '', chosenKey = key }: Asking): CaissonError {
  return new CaissonError('IDEMPOTENCY_MISMATCH', { key: chosenKey });
}

/** Knows an exec that was asked for by its digest: the request itself may be large, and is held by nobody when it has been carried out. */
function sameAs(digest: string): (request: ExecRequest) => boolean {
  return (request) => canonicalDigest(request as unknown as Json) === digest;
}

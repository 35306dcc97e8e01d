import { canonicalJson, type CreateRequest, type IsolationSpec, type Json } from '@caisson/contract';
import { decideSandbox, type AllowedSandbox } from '@caisson/authority';
import { attested, discard, specFor, type Prepared } from './create.ts';
import { freshId } from './ids.ts';
import { PREPARED } from './note.ts';
import { canonicalDigest } from './record.ts';
import { lifecycle } from './stay-record.ts';
import type { StayRooms } from './stay-rooms.ts';

export interface WarmPoolOptions {
  /** Prepared sandboxes of all kinds together, at most. 0: none is ever prepared. */
  readonly most: number;
  /** Prepared sandboxes of the usual kind, always. */
  readonly least: number;
}

/** Claims of this long count as demand. */
const DEMAND_MS = 15_000;
/** A kind that nobody has asked for in this long is given up. */
const FORGET_MS = 300_000;
/** A refill begins when no sandbox has been claimed for this long. */
const QUIET_MS = 25;
/** Pause after a sandbox that could not be prepared. */
const FAILED_MS = 5_000;

interface Kind {
  readonly key: string;
  readonly decision: AllowedSandbox;
  readonly image: IsolationSpec['image'];
  readonly terminals: boolean;
  /** Whether there is a mirror of records; it is empty before somebody claims the sandbox. */
  readonly auditMirror: boolean;
  readonly ready: Prepared[];
  claims: number[];
}

/**
 * Sandboxes that were started before anybody asked, per level, image and limits. Each is claimed once, by its only tenant;
 * what a tenant has had is never offered again. How many there are follows from what was claimed lately, within bounds.
 */
export class WarmPool implements AsyncDisposable {
  readonly #rooms: StayRooms;
  readonly #options: WarmPoolOptions;
  readonly #kinds = new Map<string, Kind>();
  #timer: NodeJS.Timeout | undefined;
  #filling: Promise<void> | undefined;
  #opened = false;
  #closed = false;

  constructor(rooms: StayRooms, options: WarmPoolOptions) {
    this.#rooms = rooms;
    this.#options = options;
  }

  /** Begins to prepare sandboxes of the usual kind. The first that is asked for does so too: where nobody asks, none is kept. */
  open(): void {
    if (this.#opened) return;
    this.#opened = true;
    const usual = decideSandbox({}, this.#rooms.policy.value, 0);
    if (usual.effect === 'deny' || this.#options.most === 0) return;
    this.#kind(usual, 'host', {});
    this.#schedule(QUIET_MS);
  }

  get ready(): number {
    return [...this.#kinds.values()].reduce((sum, { ready }) => sum + ready.length, 0);
  }

  /** A prepared sandbox that is what was asked for and decided, or null. */
  claim(request: CreateRequest, decision: AllowedSandbox, image: IsolationSpec['image']): Prepared | null {
    // A workspace that outlives the sandbox, or has content, is not there before somebody asks for it; nor is a network or a secret.
    this.open();
    if (request.workspace !== undefined || request.from !== undefined || request.network !== undefined || (request.secrets ?? []).length > 0 || this.#options.most === 0) return null;
    const kind = this.#kind(decision, image, request);
    kind.claims.push(this.#rooms.wallMs());
    this.#schedule(QUIET_MS);
    return kind.ready.shift() ?? null;
  }

  #kind(decision: AllowedSandbox, image: IsolationSpec['image'], { terminals = true, auditMirror = false }: Pick<CreateRequest, 'terminals' | 'auditMirror'>): Kind {
    const key = keyOf({ decision, image, terminals, auditMirror });
    const kind = this.#kinds.get(key) ?? { key, decision, image, terminals, auditMirror, ready: [], claims: [] };
    this.#kinds.set(key, kind);
    return kind;
  }

  /** How many of a kind there should be: as many as were claimed lately, and one more. */
  #wanted(kind: Kind, nowMs: number): number {
    kind.claims = kind.claims.filter((claimedMs) => nowMs - claimedMs < FORGET_MS);
    const lately = kind.claims.filter((claimedMs) => nowMs - claimedMs < DEMAND_MS).length;
    const usual = this.#kinds.values().next().value === kind ? this.#options.least : 0;
    return Math.max(usual, kind.claims.length === 0 ? 0 : Math.min(this.#options.most, lately + 1));
  }

  #schedule(afterMs: number): void {
    if (this.#closed || this.#filling !== undefined) return;
    clearTimeout(this.#timer); // a claim puts the refill off: it must not slow what follows the claim
    this.#timer = setTimeout(() => {
      this.#filling = this.#adjust().finally(() => (this.#filling = undefined));
      void this.#filling.then((failed) => this.#next(failed === undefined ? QUIET_MS : FAILED_MS), () => this.#next(FAILED_MS));
    }, afterMs);
    this.#timer.unref();
  }

  #next(afterMs: number): void {
    const nowMs = this.#rooms.wallMs();
    const lacking = [...this.#kinds.values()].some((kind) => kind.ready.length < this.#wanted(kind, nowMs));
    this.#schedule(lacking && this.ready < this.#options.most ? afterMs : DEMAND_MS);
  }

  /** Prepares one that is lacking, or closes one that is too many. */
  async #adjust(): Promise<void> {
    const nowMs = this.#rooms.wallMs();
    const kinds = [...this.#kinds.values()].map((kind) => ({ kind, wanted: this.#wanted(kind, nowMs) }));
    const lacking = kinds.find(({ kind, wanted }) => kind.ready.length < wanted);
    if (lacking !== undefined && this.ready < this.#options.most) return this.#prepare(lacking.kind);
    for (const { kind, wanted } of kinds) {
      if (kind.ready.length > wanted + 1) await this.#close(kind.ready.splice(wanted));
      if (wanted === 0 && kind.ready.length === 0) this.#kinds.delete(kind.key);
    }
  }

  async #prepare(kind: Kind): Promise<void> {
    const { decision, image, terminals, auditMirror } = kind;
    const workspace = freshId('wsp', this.#rooms.randomBytes);
    const id = freshId('sbx', this.#rooms.randomBytes);
    const { limits } = decision;
    const from = auditMirror ? await this.#headNow() : 0;
    const spec = await specFor({ id, decision, workspace, image, terminals, network: false, ...(auditMirror && { mirror: { sandbox: id, from } }) }, this.#rooms);
    await this.#rooms.evidence.append(lifecycle(id, 'prepare', { level: spec.level }));
    try {
      await this.#rooms.workspaces.create({ id: workspace, sizeBytes: limits.workspaceBytes, inodes: limits.inodes, passing: true });
      const machine = await this.#rooms.keeper.launch(spec, PREPARED, null);
      const prepared: Prepared = { machine, workspace, level: await attested(machine, spec, this.#rooms), spec: canonicalDigest(spec as unknown as Json) };
      if (this.#closed || this.#kinds.get(kind.key) !== kind) return await this.#close([prepared]);
      kind.ready.push(prepared);
      this.#rooms.keeper.ended(id).catch(() => undefined).then(() => this.#drop(kind, prepared), () => undefined);
    } catch (error) {
      await this.#rooms.keeper.close(id).catch(() => undefined);
      await this.#rooms.leavings.remove(workspace);
      throw error;
    }
  }

  /** Nobody has claimed what is being prepared: all that it will call stands after this in the log. */
  async #headNow(): Promise<number> {
    return (await this.#rooms.evidence.head())?.index ?? 0;
  }

  #drop(kind: Kind, prepared: Prepared): void {
    const at = kind.ready.indexOf(prepared);
    if (at === -1) return;
    kind.ready.splice(at, 1);
    void this.#rooms.leavings.remove(prepared.workspace);
  }

  async #close(prepared: readonly Prepared[]): Promise<void> {
    for (const one of prepared) await discard(one, this.#rooms);
  }

  /** Closes what is prepared of an image, and prepares no more of it until somebody asks for one again. */
  async giveUp(image: IsolationSpec['image']): Promise<void> {
    const kinds = [...this.#kinds.values()].filter((kind) => kind.image === image);
    for (const { key } of kinds) this.#kinds.delete(key);
    await this.#filling?.catch(() => undefined);
    await Promise.all(kinds.map(({ ready }) => this.#close(ready.splice(0))));
  }

  /** Closes every prepared sandbox: what was prepared under one policy is not offered under another. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#filling?.catch(() => undefined);
    await Promise.all([...this.#kinds.values()].map((kind) => this.#close(kind.ready.splice(0))));
  }
}

function keyOf({ decision: { level, limits }, image, terminals, auditMirror }: Pick<Kind, 'decision' | 'image' | 'terminals' | 'auditMirror'>): string {
  return `${level} ${image} ${terminals} ${auditMirror} ${canonicalJson({ ...limits })}`;
}

import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, problem, termsOf, type AnyLease, type Lease, type LeaseTerms } from '@caisson/contract';
import { AGAIN_MS, askPatiently, Caller } from '@caisson/wire';
import type { FileValue, LeaseUse, Restored } from './vault.ts';

/** Pause before a secret that could not be had again for a lease is looked up once more. */
const RETRY_MS = 1_000;
const SILENT = 'the vault does not answer';

/** The vault, from control. A vault that is started anew holds nothing, and is told of every lease again. */
export class RemoteVault implements Disposable {
  readonly #caller: Caller;
  readonly #known = new Map<string, ReadonlyMap<string, AnyLease>>();
  readonly #disposed = new AbortController();
  readonly #persisting = new Set<string>();
  #holding = false;

  constructor(socketPath: string) {
    this.#caller = new Caller(socketPath);
  }

  /** @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE, LEASE_NOT_FOUND when one was revoked or the sandbox released meanwhile */
  async lease(asked: { readonly sandbox: string; readonly secrets: readonly string[]; readonly expiresMs: number | null }): Promise<readonly AnyLease[]> {
    const { sandbox, secrets } = asked;
    if (secrets.length === 0) return [];
    if (!this.#known.has(sandbox)) this.#known.set(sandbox, new Map()); // from now on there is something to release
    try {
      const leases = (await this.#ask('lease', asked, secrets[0] ?? '')) as readonly AnyLease[];
      if (!this.#known.has(sandbox)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: secrets[0] ?? '' });
      this.#remember(sandbox, leases);
      return leases;
    } catch (error) {
      if (this.#known.get(sandbox)?.size === 0) this.#known.delete(sandbox);
      throw error;
    }
  }

  /** Leases that a control before this one was given. Those that cannot be had now are tried again as long as they last. */
  async adopt({ sandbox, leases }: { readonly sandbox: string; readonly leases: readonly AnyLease[] }): Promise<Restored> {
    if (leases.length === 0) return { leases: [], refused: [] };
    this.#remember(sandbox, leases);
    const restored = await this.#restore(sandbox).catch(() => null);
    void this.#persist(sandbox);
    return restored ?? { leases: [], refused: leases.map(({ secret }) => ({ secret, problem: problem('SECRET_UNAVAILABLE', { secret, detail: SILENT }) })) };
  }

  /** Never fails: a vault that is gone has forgotten everything, and the next one is not told of it. */
  async release(sandbox: string): Promise<void> {
    this.#known.delete(sandbox); // a control before this one may have leased to it
    await this.#ask('release', { sandbox }, '').catch(() => undefined);
  }

  /** @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE */
  async revoke({ sandbox, secret }: { readonly sandbox: string; readonly secret: string }): Promise<void> {
    const wasKnown = this.#forget(sandbox, secret);
    await this.#ask('revoke', { sandbox, secret }, secret).catch((error: unknown) => {
      if (!(wasKnown && error instanceof CaissonError && error.code === 'LEASE_NOT_FOUND')) throw error;
    });
  }

  /** @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE */
  async rotate(secret: string): Promise<readonly LeaseUse[]> {
    return (await this.#ask('rotate', { secret }, secret)) as readonly LeaseUse[];
  }

  /** @throws CaissonError SECRET_UNAVAILABLE */
  async list(sandbox?: string): Promise<readonly LeaseUse[]> {
    return (await this.#ask('list', sandbox === undefined ? {} : { sandbox }, '')) as readonly LeaseUse[];
  }

  #ask(verb: string, parameters: unknown, secret: string): Promise<unknown> {
    return askPatiently(this.#caller, { verb, parameters, silent: () => new CaissonError('SECRET_UNAVAILABLE', { secret, detail: SILENT }) }, this.#disposed.signal);
  }

  #remember(sandbox: string, leases: readonly AnyLease[]): void {
    this.#known.set(sandbox, new Map([...(this.#known.get(sandbox) ?? []), ...leases.map((lease) => [lease.secret, lease] as const)]));
    void this.#hold();
  }

  #forget(sandbox: string, secret: string): boolean {
    const known = this.#known.get(sandbox);
    if (known?.has(secret) !== true) return false;
    const rest = new Map([...known].filter(([name]) => name !== secret));
    if (rest.size === 0) this.#known.delete(sandbox);
    else this.#known.set(sandbox, rest);
    return true;
  }

  async #restore(sandbox: string): Promise<Restored> {
    const known = [...(this.#known.get(sandbox)?.values() ?? [])];
    if (known.length === 0) return { leases: [], refused: [] };
    const restored = (await this.#caller.call('restore', { sandbox, leases: known })) as Restored;
    const over = restored.refused.filter(({ problem: { code } }) => code !== 'SECRET_UNAVAILABLE').map(({ secret }) => secret);
    for (const lease of known) if (over.includes(lease.secret) && this.#known.get(sandbox)?.get(lease.secret) === lease) this.#forget(sandbox, lease.secret);
    return restored;
  }

  /** Tells a vault of every lease and waits until it goes away, again and again. */
  async #hold(): Promise<void> {
    if (this.#holding) return;
    this.#holding = true;
    while (!this.#disposed.signal.aborted && this.#known.size > 0) {
      const gone = this.#caller.call('hold', {}).catch(() => undefined); // by the connection of what follows at once
      for (const sandbox of this.#known.keys()) void this.#persist(sandbox);
      await gone;
      await this.#pause(AGAIN_MS);
    }
    this.#holding = false;
  }

  /** Tells this vault of the leases of a sandbox until it has every value. One that goes away is no matter: the next is told. */
  async #persist(sandbox: string): Promise<void> {
    if (this.#persisting.has(sandbox)) return;
    this.#persisting.add(sandbox);
    while (!this.#disposed.signal.aborted && this.#known.has(sandbox)) {
      const restored = await this.#restore(sandbox).catch(() => null);
      if (restored?.refused.some(({ problem: { code } }) => code === 'SECRET_UNAVAILABLE') !== true) break;
      await this.#pause(RETRY_MS);
    }
    this.#persisting.delete(sandbox);
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#disposed.signal }).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#disposed.abort();
    this.#caller[Symbol.dispose]();
  }
}

/** The vault, from the gate. */
export class RemoteValues implements Disposable {
  readonly #caller: Caller;
  readonly #disposed = new AbortController();

  constructor(socketPath: string) {
    this.#caller = new Caller(socketPath);
  }

  /** @throws CaissonError LEASE_NOT_FOUND: revoked, over, of another sandbox, not for that host or on other terms; SECRET_UNAVAILABLE: no vault answers */
  async value({ sandbox, lease, host }: { readonly sandbox: string; readonly lease: Pick<Lease, 'id' | 'secret'> & LeaseTerms; readonly host: string }): Promise<string> {
    const silent = (): Error => new CaissonError('SECRET_UNAVAILABLE', { secret: lease.secret, detail: SILENT });
    return (await askPatiently(this.#caller, { verb: 'value', parameters: { sandbox, lease: lease.id, host, terms: termsOf(lease) }, silent }, this.#disposed.signal)) as string;
  }

  [Symbol.dispose](): void {
    this.#disposed.abort();
    this.#caller[Symbol.dispose]();
  }
}

/** The vault, from the launcher. */
export class RemoteFiles implements Disposable {
  readonly #caller: Caller;
  readonly #disposed = new AbortController();

  constructor(socketPath: string) {
    this.#caller = new Caller(socketPath);
  }

  /** @throws CaissonError LEASE_NOT_FOUND: revoked, over, of another sandbox or not of that file; SECRET_UNAVAILABLE: no vault answers */
  async file(asked: { readonly sandbox: string; readonly lease: string; readonly name: string }): Promise<{ readonly bytes: Buffer; readonly expiresMs: number | null }> {
    const silent = (): Error => new CaissonError('SECRET_UNAVAILABLE', { secret: asked.name, detail: SILENT });
    const { base64, expiresMs } = (await askPatiently(this.#caller, { verb: 'file', parameters: asked, silent }, this.#disposed.signal)) as FileValue;
    return { bytes: Buffer.from(base64, 'base64'), expiresMs };
  }

  [Symbol.dispose](): void {
    this.#disposed.abort();
    this.#caller[Symbol.dispose]();
  }
}

import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, type ApprovalAnswer, type Decided, type HeldAttempt, type CertificateAuthority, type Lease, type NetworkPolicy, type NetworkRequest, type NetworkState } from '@caisson/contract';
import { AGAIN_MS, askPatiently, Caller } from '@caisson/wire';
import type { AdmissionMessage } from './admitted.ts';
import { makeAuthority } from './authority.ts';

/** Who may speak to whom, and with which secrets. */
export interface ToAdmit {
  readonly sandbox: string;
  /** Default: not known, and nothing is sealed of its requests. */
  readonly caller?: string;
  readonly address: string;
  readonly network: NetworkRequest;
  /** Default: none, and no request is read by TLS. */
  readonly authority?: CertificateAuthority | null;
  readonly leases?: readonly Lease[];
}

/** What is to be done before a gate is told of somebody: the vault, of which it gets the values, may be another as well. */
export type Prepare = (admission: Pick<AdmissionMessage, 'sandbox' | 'leases'>) => Promise<void>;

/** The gate, from control. A gate that is started anew knows nobody, and is told of everyone again. */
export class RemoteGate implements Disposable {
  readonly #caller: Caller;
  readonly #policy: NetworkPolicy;
  readonly #prepare: Prepare;
  readonly #admitted = new Map<string, AdmissionMessage>();
  readonly #disposed = new AbortController();
  #holding = false;

  constructor(socketPath: string, policy: NetworkPolicy, prepare: Prepare = async () => undefined) {
    this.#caller = new Caller(socketPath);
    this.#policy = policy;
    this.#prepare = prepare;
  }

  /**
   * What is superseded or dismissed meanwhile is not told any more; what could not be told leaves a later gate with what was told before.
   *
   * @throws CaissonError NETWORK_UNAVAILABLE
   */
  async admit({ authority = null, leases = [], ...asked }: ToAdmit): Promise<void> {
    const { sandbox } = asked;
    const message: AdmissionMessage = { ...asked, authority, leases, policy: this.#policy };
    const before = this.#admitted.get(sandbox);
    const isCurrent = (): boolean => this.#admitted.get(sandbox) === message;
    this.#admitted.set(sandbox, message);
    try {
      await this.#prepare(message);
      await this.#ask('admit', message, isCurrent);
    } catch (error) {
      if (isCurrent() && before !== undefined) this.#admitted.set(sandbox, before);
      else if (isCurrent()) this.#admitted.delete(sandbox);
      throw error;
    }
    void this.#hold();
  }

  /** Makes an authority for a sandbox. It is here, and not in the gate, because it outlives gates. */
  certify(asked: { readonly sandbox: string; readonly names: readonly string[]; readonly expiresMs: number }): Promise<CertificateAuthority> {
    return makeAuthority({ ...asked, wallMs: Date.now() });
  }

  /** Null: the gate did not know it, or is gone and has cut everything. */
  async dismiss(sandbox: string): Promise<NetworkState | null> {
    if (!this.#admitted.delete(sandbox)) return null;
    return (await this.#ask('dismiss', { sandbox }).catch(() => null)) as NetworkState | null;
  }

  /** Null: the gate does not know it. @throws CaissonError NETWORK_UNAVAILABLE */
  async state(sandbox: string): Promise<NetworkState | null> {
    return (await this.#ask('state', { sandbox })) as NetworkState | null;
  }

  /** What waits for a decision, of all sandboxes. @throws CaissonError NETWORK_UNAVAILABLE */
  async held(): Promise<readonly HeldAttempt[]> {
    return this.#admitted.size === 0 ? [] : (await this.#ask('held', {})) as readonly HeldAttempt[];
  }

  /** Null: nothing waits under this id. @throws CaissonError NETWORK_UNAVAILABLE */
  async decide(decision: { readonly sandbox: string; readonly approval: string; readonly answer: ApprovalAnswer }): Promise<Decided | null> {
    return (await this.#ask('decide', decision)) as Decided | null;
  }

  #ask(verb: string, parameters: unknown, isWanted: () => boolean = () => true): Promise<unknown> {
    const silent = (message: string): Error => new CaissonError('NETWORK_UNAVAILABLE', { what: `the gate does not answer (${message})`, how: 'look at the log of Caisson' });
    return askPatiently(this.#caller, { verb, parameters, silent, isWanted }, this.#disposed.signal);
  }

  /** What has leases waits for the vault, and the rest for nobody. */
  #tell(message: AdmissionMessage): Promise<unknown> {
    if (message.leases.length === 0) return this.#caller.call('admit', message);
    return this.#prepare(message).then(() => this.#admitted.get(message.sandbox) === message && this.#caller.call('admit', message));
  }

  /** Tells a gate of everybody and waits until it goes away, again and again. What is told goes to the gate that holds: another that came in between would know nobody. */
  async #hold(): Promise<void> {
    if (this.#holding) return;
    this.#holding = true;
    while (!this.#disposed.signal.aborted && this.#admitted.size > 0) {
      const going = this.#caller.call('hold', {}).catch(() => undefined); // by the connection of what follows at once
      await Promise.all([...this.#admitted.values()].map((message) => this.#tell(message).catch(() => undefined)));
      await going;
      await delay(AGAIN_MS, undefined, { signal: this.#disposed.signal }).catch(() => undefined);
    }
    this.#holding = false;
  }

  [Symbol.dispose](): void {
    this.#disposed.abort();
    this.#caller[Symbol.dispose]();
  }
}

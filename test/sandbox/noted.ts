import { CaissonError, type ApprovalAnswer, type CertificateAuthority, type Decided, type HeldAttempt, type AnyLease } from '@caisson/contract';
import { makeAuthority } from '@caisson/egress';
import type { Admission, GateRoom, VaultRoom } from '@caisson/sandbox';

/** A vault without secrets: what is leased is noted. */
export class NotedVault implements VaultRoom {
  readonly leased = new Map<string, readonly AnyLease[]>();
  /** Names of secrets that are files, under the same name. */
  readonly files = new Set<string>();
  /** When the time of a secret is over; default: when that of the sandbox is. */
  readonly ends = new Map<string, number | null>();
  readonly asked: string[] = [];
  fails = false;

  async lease({ sandbox, secrets, expiresMs }: { readonly sandbox: string; readonly secrets: readonly string[]; readonly expiresMs: number }): Promise<readonly AnyLease[]> {
    this.asked.push(`lease ${secrets.join(' ')}`);
    if (this.fails) throw new CaissonError('SECRET_UNAVAILABLE', { secret: secrets[0] ?? '', detail: 'its file is not there' });
    const leases = secrets.map((secret, n) => ({ secret, n, ends: this.ends.has(secret) ? (this.ends.get(secret) ?? null) : expiresMs })).map(({ secret, n, ends }): AnyLease => this.files.has(secret) ? { id: `lea-${String(n).padStart(16, '0')}`, secret, file: secret, env: `${secret.toUpperCase()}_FILE`, expiresMs: ends, digest: 'd' } : ({
      id: `lea-${String(n).padStart(16, '0')}`, secret, placeholder: `caisson-${sandbox}-${secret}`, env: secret.toUpperCase(), hosts: [`${secret}.example.test`], at: 'bearer', expiresMs: ends, digest: 'd',
    }));
    this.leased.set(sandbox, leases);
    return leases;
  }

  async release(sandbox: string): Promise<void> {
    this.asked.push('release');
    this.leased.delete(sandbox);
  }

  async revoke(_: string, secret: string): Promise<void> {
    this.asked.push(`revoke ${secret}`);
  }

  async adopt({ leases }: { readonly leases: readonly AnyLease[] }): Promise<void> {
    this.asked.push(`adopt ${leases.map(({ secret }) => secret).join(' ')}`);
  }

  async list(sandbox: string): Promise<readonly { readonly lease: AnyLease; readonly uses: number; readonly lastMs: number | null }[]> {
    return (this.leased.get(sandbox) ?? []).map((lease) => ({ lease, uses: 1, lastMs: 5 }));
  }

  async rotate(secret: string): Promise<void> {
    this.asked.push(`rotate ${secret}`);
  }
}

/** A gate without a network: who may speak, and what was asked of it, is only noted. */
export class NotedGate implements GateRoom {
  readonly admitted = new Map<string, Admission>();
  readonly asked: string[] = [];
  /** What happens before an admission is answered. */
  onAdmit: () => Promise<void> = async () => undefined;

  async admit(admission: Admission): Promise<void> {
    this.asked.push(`admit ${admission.network.rules.map(({ host }) => host).join(' ')}`);
    await this.onAdmit();
    this.admitted.set(admission.sandbox, admission);
  }

  certify(asked: { readonly sandbox: string; readonly names: readonly string[]; readonly expiresMs: number }): Promise<CertificateAuthority> {
    return makeAuthority({ ...asked, wallMs: Date.now() });
  }

  async dismiss(sandbox: string): Promise<null> {
    if (this.admitted.delete(sandbox)) this.asked.push('dismiss');
    return null;
  }

  /** What waits, and what is done when it is decided. */
  waiting: readonly HeldAttempt[] = [];

  async held(): Promise<readonly HeldAttempt[]> {
    return this.waiting;
  }

  async decide({ approval, answer: { decision } }: { readonly approval: string; readonly answer: ApprovalAnswer }): Promise<Decided | null> {
    this.asked.push(`${decision} ${approval}`);
    const found = this.waiting.find(({ id }) => id === approval);
    this.waiting = this.waiting.filter((each) => each !== found);
    return found === undefined ? null : { ...found, decision, untilMs: 0 };
  }

  async state(): Promise<null> {
    return null;
  }
}

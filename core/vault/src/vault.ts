import { createHmac } from 'node:crypto';
import { CaissonError, envOf, problemOf, type AnyLease, type FileLease, type FileRule, type InjectedRule, type Lease, type LeaseTerms, type Problem, type SecretRule } from '@caisson/contract';
import { awsCredentials } from './aws.ts';
import { isPlaceholder, newLeaseId, newPlaceholder, type RandomBytes } from './random.ts';
import type { Resolved } from './resolved.ts';
import { judgeFile, resolveSource, type Ground } from './source.ts';

export interface VaultOptions {
  /** `secrets` of the policy: nothing else can be asked for, and whoever asks names no reference. */
  readonly rules: Readonly<Record<string, SecretRule>>;
  readonly ground: Ground;
  /** Wall time in milliseconds since 1970 UTC. */
  readonly now: () => number;
  readonly randomBytes: RandomBytes;
}

/** A lease and how often its value went to the gate or to the launcher. */
export interface LeaseUse {
  readonly sandbox: string;
  readonly lease: AnyLease;
  readonly uses: number;
  /** Wall time of the last, in milliseconds since 1970 UTC; null: it never did. */
  readonly lastMs: number | null;
}

/** What the launcher writes as a file. */
export interface FileValue {
  readonly base64: string;
  /** Wall time in milliseconds since 1970 UTC at which the file goes away; null: with its sandbox. */
  readonly expiresMs: number | null;
}

export interface Restored {
  readonly leases: readonly AnyLease[];
  /** What is not there, and why: LEASE_NOT_FOUND and SECRET_UNKNOWN for good, SECRET_UNAVAILABLE for now. */
  readonly refused: readonly { readonly secret: string; readonly problem: Problem }[];
}

type Grant = Omit<Lease, 'digest'> | Omit<FileLease, 'digest'>;

/** A value, and when looking it up began: of two values that of the later look is the newer. */
interface Value {
  readonly bytes: Buffer;
  readonly turn: number;
  /** When it says itself that it is over; null: it does not say. */
  readonly expiresMs: number | null;
}

interface Held {
  readonly grant: Grant;
  value: Value;
  uses: number;
  lastMs: number | null;
}

interface Tenant {
  readonly held: Map<string, Held>;
  /** Secrets that were revoked while they may still have been on their way. */
  readonly revoked: Set<string>;
  pending: number;
  isGone: boolean;
}

/** A value that is over so soon is looked up anew when it is asked for. */
const RENEW_MS = 120_000;

/**
 * Leases of secrets, and their values, in the memory of one process and nowhere else. A value that is forgotten is written
 * over, which is the best that can be done: the engine may have moved copies of it, and what was sent is out of reach.
 */
export class Vault implements Disposable {
  readonly #rules: ReadonlyMap<string, SecretRule>;
  readonly #ground: Ground;
  readonly #now: () => number;
  readonly #randomBytes: RandomBytes;
  readonly #key: Buffer;
  readonly #tenants = new Map<string, Tenant>();
  /** The look of the last rotation of a secret that came to an end. */
  readonly #rotated = new Map<string, number>();
  readonly #renewing = new Map<string, Promise<unknown>>();
  #turn = 0;

  constructor({ rules, ground, now, randomBytes }: VaultOptions) {
    this.#rules = new Map(Object.entries(rules));
    this.#ground = ground;
    this.#now = now;
    this.#randomBytes = randomBytes;
    this.#key = Buffer.from(randomBytes(32));
  }

  /**
   * All of them or none: nothing is kept when one cannot be had. What the sandbox has already it gets again, unchanged.
   *
   * @param expiresMs wall time at which the sandbox ends; null when that is not known
   * @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE, LEASE_NOT_FOUND when one was revoked or the sandbox released meanwhile
   */
  async lease({ sandbox, secrets, expiresMs }: { readonly sandbox: string; readonly secrets: readonly string[]; readonly expiresMs: number | null }): Promise<readonly AnyLease[]> {
    for (const secret of secrets) this.#rule(secret);
    this.expire();
    const tenant = this.#enter(sandbox);
    const missing = secrets.filter((secret) => !tenant.held.has(secret));
    for (const secret of missing) tenant.revoked.delete(secret);
    try {
      const values = await this.#lookAll(missing);
      const lost = secrets.find((secret) => tenant.isGone || tenant.revoked.has(secret) || (!values.has(secret) && !tenant.held.has(secret)));
      for (const [secret, value] of values) {
        if (lost === undefined && !tenant.held.has(secret)) tenant.held.set(secret, { grant: this.#grant(secret, expiresMs), value, uses: 0, lastMs: null });
        else value.bytes.fill(0);
      }
      if (lost !== undefined) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: lost });
      return secrets.flatMap((secret) => this.#leaseOf(tenant.held.get(secret)));
    } finally {
      this.#leave(sandbox, tenant);
    }
  }

  /**
   * What a vault that is gone has leased: the same ids and placeholders with values looked up anew. Where they may go is
   * taken from the policy and not from what is told. Each on its own, because the sandbox is there with or without it.
   */
  async restore({ sandbox, leases }: { readonly sandbox: string; readonly leases: readonly AnyLease[] }): Promise<Restored> {
    const tenant = this.#enter(sandbox);
    for (const { secret } of leases) if (!tenant.held.has(secret)) tenant.revoked.delete(secret);
    try {
      const looks = await Promise.allSettled(leases.map((lease) => this.#restoreOne(sandbox, tenant, lease)));
      return {
        leases: looks.flatMap((look) => (look.status === 'fulfilled' ? look.value : [])),
        refused: looks.flatMap((look, at) => (look.status === 'rejected' ? [{ secret: leases[at]?.secret ?? '', problem: problemOf(look.reason) }] : [])),
      };
    } finally {
      this.#leave(sandbox, tenant);
    }
  }

  async #restoreOne(sandbox: string, tenant: Tenant, lease: AnyLease): Promise<readonly AnyLease[]> {
    const { id, secret, expiresMs } = lease;
    const lost = (): CaissonError => new CaissonError('LEASE_NOT_FOUND', { sandbox, secret });
    const named = continues(lease, this.#rule(secret));
    const isTaken = (): boolean => this.#find(id) !== undefined;
    if (tenant.held.get(secret)?.grant.id === id) return this.#leaseOf(tenant.held.get(secret));
    if (tenant.held.has(secret) || isTaken() || named === null || this.#isOver(expiresMs)) throw lost();
    const value = await this.#look(secret);
    const again = tenant.held.get(secret);
    if (again !== undefined || tenant.isGone || tenant.revoked.has(secret) || isTaken()) {
      value.bytes.fill(0);
      if (again?.grant.id === id) return this.#leaseOf(again);
      throw lost();
    }
    const held: Held = { grant: { ...this.#grant(secret, expiresMs), ...named }, value, uses: 0, lastMs: null };
    tenant.held.set(secret, held);
    return this.#leaseOf(held);
  }

  /** Forgets what the sandbox has. */
  release(sandbox: string): void {
    const tenant = this.#tenants.get(sandbox);
    if (tenant === undefined) return;
    this.#tenants.delete(sandbox);
    tenant.isGone = true;
    for (const secret of tenant.held.keys()) forget(tenant, secret);
  }

  /** @throws CaissonError LEASE_NOT_FOUND */
  revoke({ sandbox, secret }: { readonly sandbox: string; readonly secret: string }): void {
    this.expire();
    const tenant = this.#tenants.get(sandbox);
    tenant?.revoked.add(secret);
    if (tenant === undefined || !forget(tenant, secret)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret });
    this.#drop(sandbox, tenant);
  }

  /**
   * Looks the secret up anew and gives every lease of it the new value; when that fails the old one stays.
   *
   * @throws CaissonError SECRET_UNKNOWN, SECRET_UNAVAILABLE
   */
  async rotate(secret: string): Promise<readonly LeaseUse[]> {
    this.#rule(secret);
    const { bytes, turn, expiresMs } = await this.#look(secret);
    if (turn > (this.#rotated.get(secret) ?? 0)) this.#rotated.set(secret, turn);
    for (const { held } of this.#tenants.values()) {
      const one = held.get(secret);
      if (one === undefined || one.value.turn > turn) continue;
      one.value.bytes.fill(0);
      one.value = { bytes: Buffer.from(bytes), turn, expiresMs };
    }
    bytes.fill(0);
    return this.list().filter(({ lease }) => lease.secret === secret);
  }

  /** Never a value. */
  list(sandbox?: string): readonly LeaseUse[] {
    this.expire();
    const tenants = [...this.#tenants].filter(([id]) => sandbox === undefined || id === sandbox);
    return tenants.flatMap(([id, { held }]) => [...held.values()].flatMap((one) => this.#leaseOf(one).map((lease) => ({ sandbox: id, lease, uses: one.uses, lastMs: one.lastMs }))));
  }

  /** Looks a secret up anew where its value says that it is over soon. What cannot be had then stays until it is. Never fails. */
  async renew({ sandbox, lease }: { readonly sandbox: string; readonly lease: string }): Promise<void> {
    const held = this.#find(lease, sandbox);
    if (held === undefined || !this.#isOver(held.value.expiresMs, RENEW_MS)) return;
    const { secret } = held.grant;
    const renewing = this.#renewing.get(secret) ?? this.rotate(secret).finally(() => this.#renewing.delete(secret));
    this.#renewing.set(secret, renewing);
    await renewing.catch(() => undefined);
  }

  /**
   * The value, for requests of that sandbox to that host on those terms. Both are judged here once more: who leases is told
   * neither value nor where it goes, and so can have it sent neither elsewhere nor in another form, such as a key by which
   * requests are signed in a field of one.
   *
   * @throws CaissonError LEASE_NOT_FOUND, SECRET_UNAVAILABLE when the value says that it is over
   */
  value({ sandbox, lease, host, terms }: { readonly sandbox: string; readonly lease: string; readonly host: string; readonly terms: LeaseTerms }): string {
    this.expire();
    const { held, grant } = this.#heldBy(sandbox, lease);
    if ('file' in grant || !grant.hosts.includes(host)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: `${grant.secret} for ${host}` });
    if (canonical(terms) !== canonical(grant)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: `${grant.secret} on these terms` });
    if (this.#isOver(held.value.expiresMs)) throw new CaissonError('SECRET_UNAVAILABLE', { secret: grant.secret, detail: 'its Expiration is over' });
    return this.#use(held).toString('utf8');
  }

  /**
   * The value, for a file of that name in that sandbox. That the lease is of a file, and of that one, is judged here: who
   * mounts files is given none of the values that go with requests.
   *
   * @throws CaissonError LEASE_NOT_FOUND
   */
  file({ sandbox, lease, name }: { readonly sandbox: string; readonly lease: string; readonly name: string }): FileValue {
    this.expire();
    const { held, grant } = this.#heldBy(sandbox, lease);
    if (!('file' in grant) || grant.file !== name) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: `${grant.secret} as the file ${name}` });
    return { base64: this.#use(held).toString('base64'), expiresMs: grant.expiresMs };
  }

  #heldBy(sandbox: string, lease: string): { readonly held: Held; readonly grant: Grant } {
    const held = this.#find(lease, sandbox);
    if (held === undefined) throw new CaissonError('LEASE_NOT_FOUND', { sandbox, secret: lease });
    return { held, grant: held.grant };
  }

  #use(held: Held): Buffer {
    held.uses += 1;
    held.lastMs = this.#now();
    return held.value.bytes;
  }

  /** Forgets what is over. Every question does so first; called now and then, it keeps no value longer because nobody asks. */
  expire(): void {
    for (const [sandbox, tenant] of this.#tenants) {
      for (const { grant } of tenant.held.values()) if (this.#isOver(grant.expiresMs)) forget(tenant, grant.secret);
      this.#drop(sandbox, tenant);
    }
  }

  [Symbol.dispose](): void {
    for (const sandbox of this.#tenants.keys()) this.release(sandbox);
    this.#key.fill(0);
  }

  #rule(secret: string): SecretRule {
    const rule = this.#rules.get(secret);
    if (rule === undefined) throw new CaissonError('SECRET_UNKNOWN', { secret });
    return rule;
  }

  /** Looks again when a rotation that began later has ended meanwhile: what was found may be what it has replaced. */
  async #look(secret: string): Promise<Value> {
    const turn = ++this.#turn;
    const rule = this.#rule(secret);
    const found = await resolveSource(rule.from, this.#ground, this.#reader(rule));
    if ('why' in found) throw new CaissonError('SECRET_UNAVAILABLE', { secret, detail: found.why });
    if ((this.#rotated.get(secret) ?? 0) <= turn) return { bytes: found.value, turn, expiresMs: found.expiresMs ?? null };
    found.value.fill(0);
    return this.#look(secret);
  }

  /** What is made of what was found. Undefined: a text that can stand in a field of a request. */
  #reader(rule: SecretRule): ((bytes: Buffer) => Resolved) | undefined {
    if ('file' in rule) return judgeFile;
    return rule.at === 'sigv4' ? (bytes) => awsCredentials(bytes, this.#now()) : undefined;
  }

  async #lookAll(secrets: readonly string[]): Promise<ReadonlyMap<string, Value>> {
    const looks = await Promise.allSettled(secrets.map(async (secret) => [secret, await this.#look(secret)] as const));
    const found = looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []));
    const failed = looks.find((look) => look.status === 'rejected');
    if (failed === undefined) return new Map(found);
    for (const [, { bytes }] of found) bytes.fill(0);
    throw failed.reason;
  }

  #grant(secret: string, sandboxEndsMs: number | null): Grant {
    const rule = this.#rule(secret);
    const ends = [sandboxEndsMs, rule.ttlMs === undefined ? null : this.#now() + rule.ttlMs].filter((end) => end !== null);
    const common = { id: newLeaseId(this.#randomBytes), secret, expiresMs: ends.length === 0 ? null : Math.min(...ends) };
    return 'file' in rule ? { ...common, ...ofFile(rule) } : { ...common, ...ofRequests(secret, rule), placeholder: newPlaceholder(this.#randomBytes, rule) };
  }

  #leaseOf(held: Held | undefined): readonly AnyLease[] {
    return held === undefined ? [] : [{ ...held.grant, digest: createHmac('sha256', this.#key).update(held.value.bytes).digest('hex') }];
  }

  /** @param sandbox default: of any */
  #find(lease: string, sandbox?: string): Held | undefined {
    const tenants = sandbox === undefined ? [...this.#tenants.values()] : [this.#tenants.get(sandbox)];
    return tenants.flatMap((tenant) => [...(tenant?.held.values() ?? [])]).find(({ grant }) => grant.id === lease);
  }

  #isOver(expiresMs: number | null, aheadMs = 0): boolean {
    return expiresMs !== null && this.#now() + aheadMs >= expiresMs;
  }

  #enter(sandbox: string): Tenant {
    const tenant = this.#tenants.get(sandbox) ?? { held: new Map(), revoked: new Set(), pending: 0, isGone: false };
    this.#tenants.set(sandbox, tenant);
    tenant.pending += 1;
    return tenant;
  }

  #leave(sandbox: string, tenant: Tenant): void {
    tenant.pending -= 1;
    this.#drop(sandbox, tenant);
  }

  #drop(sandbox: string, tenant: Tenant): void {
    if (!tenant.isGone && tenant.held.size === 0 && tenant.pending === 0) this.#tenants.delete(sandbox);
  }
}

function ofFile({ file, env }: FileRule): Pick<FileLease, 'file' | 'env'> {
  return { file, ...(env === undefined ? {} : { env }) };
}

function ofRequests(secret: string, rule: InjectedRule): Pick<Lease, 'env' | 'hosts' | 'at' | 'methods' | 'paths' | 'aws'> {
  const { hosts, at = 'bearer', methods, paths, aws } = rule;
  return {
    env: envOf(secret, rule),
    hosts,
    at,
    ...(methods === undefined ? {} : { methods }),
    ...(paths === undefined ? {} : { paths }),
    ...(aws === undefined ? {} : { aws }),
  };
}

/** Terms that mean the same are the same text: in what lists of them say there is no order, and nothing counts twice. */
function canonical({ at, methods, paths, aws }: LeaseTerms): string {
  const set = (texts: readonly string[] | undefined): readonly string[] | null => (texts === undefined ? null : [...new Set(texts)].toSorted());
  return JSON.stringify([at, set(methods), set(paths), set(aws?.regions), set(aws?.services)]);
}

/** What of a lease goes on under the rule of today; null for one that could not be of it: another form, or no placeholder of ours. */
function continues(lease: AnyLease, rule: SecretRule): { readonly id: string; readonly placeholder?: string } | null {
  if ('file' in lease) return 'file' in rule ? { id: lease.id } : null;
  return !('file' in rule) && isPlaceholder(lease.placeholder, rule) ? { id: lease.id, placeholder: lease.placeholder } : null;
}

function forget({ held }: Tenant, secret: string): boolean {
  held.get(secret)?.value.bytes.fill(0);
  return held.delete(secret);
}

import type { Socket } from 'node:net';
import { readsRequests, sealable, type CertificateAuthority, type EgressDecision, type EgressProtocol, type Json, type Lease, type NetworkPolicy, type NetworkRequest, type NetworkState, type Refusal, type Secret, type SecretUse } from '@caisson/contract';
import { Approvals } from './approvals.ts';
import { Certificates } from './authority.ts';
import { DenialsFile } from './denials-file.ts';
import { denialsText } from './denials.ts';
import { decideConnection, decideName } from './decide.ts';
import type { HeldSecret } from './inject.ts';
import { layersOf, type Destination, type Layer } from './layers.ts';
import { Meter, Rate } from './meter.ts';
import { Names } from './names.ts';
import { Pace } from './pace.ts';
import { cut, Refusals } from './refusals.ts';
import { Tally } from './tally.ts';
import { Turn, type Neighbours } from './turn.ts';

/** What control says of a sandbox that may speak. */
export interface AdmissionMessage {
  readonly sandbox: string;
  readonly address: string;
  readonly network: NetworkRequest;
  readonly policy: NetworkPolicy;
  /** Whose it is. Default, of one that nobody is known of: what would be sealed is not recorded. */
  readonly caller?: string | undefined;
  /** By which the gate stands for hosts whose requests it reads; null: it reads none by TLS. */
  readonly authority: CertificateAuthority | null;
  readonly leases: readonly Lease[];
}

/** The same, with the values of what is leased. */
export interface Admission extends Omit<AdmissionMessage, 'leases'> {
  readonly held: readonly HeldSecret[];
}

/** A connection that is open, as long as it may be. */
export interface OpenConnection extends Destination {
  readonly id: number;
  /** What it is held to. */
  readonly protocol: EgressProtocol;
  /** The rules that its bytes count against: those of now. */
  layers: readonly Layer[];
  readonly startedMs: number;
  /** Ids of the leases whose secrets went out on it. */
  readonly leases: Set<string>;
  /** It waits for a decision, and who holds it refuses it when that is over. */
  isHeld?: boolean;
  /** Key of the decision by which it was opened. */
  approvedAs?: string;
  readonly bytes: { out: number; in: number };
  /** Ends both halves at once. */
  cut(why: string): void;
}

/** Puts something on record. Resolves when it is durable. */
export type PutOnRecord = (sandbox: string, body: Json, secret?: Secret) => Promise<void>;

/** Names whose decision is remembered until the rules change. */
const NAMES_DECIDED = 1_024;
const CONNECTIONS_MOST = 1_000;
const CONNECTIONS_PER_MINUTE = 6_000;
const REFUSALS_LISTED = 100;
/** Sockets beyond the connections: those that have not said yet what they want, ask for names, or are told goodbye. */
const SOCKETS_SPARE = 256;
/** The same as profiles/egress/gate.nft has for queries over UDP. */
const QUERIES_PER_SECOND = 500;

/** A sandbox that may speak, as the gate knows it. */
export class Admitted {
  readonly sandbox: string;
  readonly caller: string | undefined;
  readonly address: string;
  readonly names = new Names();
  readonly meter = new Meter();
  readonly refusals = new Refusals();
  readonly queries: Pace;
  readonly turn: Turn;
  readonly approvals: Approvals;
  /** What was refused, as the sandbox reads it. */
  readonly denials: DenialsFile;
  readonly connections = new Map<number, OpenConnection>();
  /** Bytes of connections that are over, and how many there were. */
  readonly passed = { connections: 0, out: 0, in: 0 };
  layers: readonly Layer[];
  policy: NetworkPolicy;
  readonly certificates: Certificates | null;
  held: readonly HeldSecret[];
  readonly #uses = new Map<string, SecretUse>();
  readonly #decided = new Map<string, EgressDecision>();
  #sockets = 0;
  readonly #rate = new Rate();
  readonly #tally = new Tally();
  readonly #record: PutOnRecord;
  readonly #nowMs: () => number;
  readonly #wallMs: () => number;

  constructor({ sandbox, caller, address, network, policy, authority, held }: Admission, { record, nowMs, wallMs, neighbours, denials }: { readonly denials: string; readonly record: PutOnRecord; readonly nowMs: () => number; readonly wallMs: () => number; readonly neighbours: Neighbours }) {
    this.sandbox = sandbox;
    this.caller = caller;
    this.address = address;
    this.policy = policy;
    this.layers = layersOf(policy, network);
    this.certificates = authority === null ? null : new Certificates(authority);
    this.held = held;
    this.#record = record;
    this.#nowMs = nowMs;
    this.#wallMs = wallMs;
    this.turn = new Turn(neighbours);
    this.approvals = new Approvals({ sandbox, record: (body) => this.record(body), nowMs, wallMs, changed: () => this.denials.changed() });
    this.denials = new DenialsFile({ folder: `${denials}/${address}`, text: () => denialsText(this) });
    this.queries = new Pace(QUERIES_PER_SECOND, nowMs);
    this.#nameHosts(network);
  }

  /** Hosts of rules have their addresses before they are asked for, in the order of the rules: those that a sandbox remembers outlive the gate. */
  #nameHosts({ rules }: NetworkRequest): void {
    for (const { host, effect } of rules) if (effect !== 'deny' && !host.startsWith('*.')) this.names.addressOf(host);
  }

  /**
   * Takes other rules and leases, and cuts what they no longer allow, hold to another protocol than it was opened with, or have
   * taken a secret from that went out on it.
   */
  change({ network, policy, held }: Pick<Admission, 'network' | 'policy' | 'held'>): void {
    this.policy = policy;
    this.held = held;
    const leased = new Set(held.map(({ lease }) => lease.id));
    const layers = layersOf(policy, network);
    if (JSON.stringify(layers) !== JSON.stringify(this.layers)) {
      this.layers = layers;
      this.approvals.change(layers);
    }
    this.#decided.clear();
    this.#nameHosts(network);
    for (const connection of this.connections.values()) {
      if (connection.isHeld === true) continue;
      const decision = decideConnection(this.layers, connection);
      if (decision.effect === 'deny') connection.cut(`the rules were changed: ${decision.reason}`);
      else if (decision.protocol !== connection.protocol) connection.cut(`the rules were changed: ${connection.host}:${connection.port} is held to ${decision.protocol} now`);
      else if (!connection.leases.isSubsetOf(leased)) connection.cut('a secret that went out on it was revoked');
      else if (!readsRequests(connection.protocol) && this.approvals.lacks(connection, decision.layers)) connection.cut(`the rules were changed: ${connection.host}:${connection.port} waits for a decision now`);
      else connection.layers = decision.layers;
    }
  }

  /** Whether a name may be spoken to at all. */
  decideName(name: string): EgressDecision {
    const known = this.#decided.get(name);
    if (known !== undefined) return known;
    const decision = decideName(this.layers, name);
    if (this.#decided.size >= NAMES_DECIDED) this.#decided.clear();
    this.#decided.set(name, decision);
    return decision;
  }

  /** Why one connection more is too many now; null: it is not. */
  tooMany(): string | null {
    const { connections = CONNECTIONS_MOST } = this.policy;
    if (this.connections.size >= connections) return `${this.connections.size} connections are open, as many as a sandbox may have`;
    return this.tooFast();
  }

  /** Counts a connection or a request. Why it is too many within a minute; null: it is not. */
  tooFast(): string | null {
    const { connectionsPerMinute = CONNECTIONS_PER_MINUTE } = this.policy;
    return this.#rate.take(connectionsPerMinute, this.#nowMs()).ok ? null : `${connectionsPerMinute} connections and requests were made within 60 s, as many as a sandbox may`;
  }

  /** Counts a socket of the sandbox until it closes, whatever comes of it. False: it is one too many. */
  take(socket: Socket): boolean {
    const { connections = CONNECTIONS_MOST } = this.policy;
    if (this.#sockets >= connections + SOCKETS_SPARE) {
      this.refuse({ what: 'connection', to: 'the gate', rule: null, reason: `${connections + SOCKETS_SPARE} sockets are open, as many as a sandbox may have` });
      return false;
    }
    this.#sockets += 1;
    this.turn.ask();
    socket.once('close', () => (this.#sockets -= 1));
    return true;
  }

  /** Counts that a secret goes out on a connection. */
  use({ secret, id }: Lease, connection: OpenConnection): void {
    connection.leases.add(id);
    this.#uses.set(secret, { secret, uses: (this.#uses.get(secret)?.uses ?? 0) + 1, lastMs: this.#wallMs() });
  }

  /** Puts a refusal on record, the first of its kind at once. What cannot be recorded is refused all the same. */
  refuse(refusal: Refusal): void {
    this.denials.changed();
    if (!this.refusals.add(refusal, this.#wallMs())) return;
    const { what, to, rule, reason, wouldAllow = null } = cut(refusal);
    void this.record({ event: 'refused', what, to, rule, reason, wouldAllow }).catch(() => undefined);
  }

  /** @param secret what only holders of a key of the caller may read */
  async record(body: Json, secret?: { readonly [name: string]: Json }): Promise<void> {
    const { caller } = this;
    const sealed = secret === undefined || caller === undefined ? undefined : { tenant: caller, value: sealable(secret, body), alike: secret };
    await this.#record(this.sandbox, body, sealed);
    this.#tally.count(body);
  }

  /** Puts on record what was only counted so far. */
  async tellCounts(): Promise<void> {
    const untold = this.refusals.takeUntold();
    if (untold !== null) await this.record(untold);
  }

  state(): NetworkState {
    const { connections, passed, refusals } = this;
    return {
      secrets: [...this.#uses.values()],
      connections: [...connections.values()].map(({ host, port, startedMs, bytes }) => ({ host, port, startedMs, bytesOut: bytes.out, bytesIn: bytes.in })),
      passed: { connections: passed.connections, bytesOut: passed.out, bytesIn: passed.in },
      refused: refusals.list(REFUSALS_LISTED),
      refusedTotal: refusals.total,
    };
  }

  /** Cuts everything and puts on record what passed. @returns the last state of it, in which what was cut has passed */
  async dismiss(why: string): Promise<NetworkState> {
    const open = [...this.connections.values()];
    for (const connection of open) connection.cut(why);
    const { passed: over, ...state } = this.state();
    const passed = open.reduce((sum, { bytes }) => ({ connections: sum.connections + 1, bytesOut: sum.bytesOut + bytes.out, bytesIn: sum.bytesIn + bytes.in }), over);
    await this.tellCounts().catch(() => undefined); // the end tells how many there were
    await this.record({ event: 'dismissed', ...passed, refused: state.refusedTotal, told: this.#tally.told });
    return { ...state, passed, connections: [] };
  }
}

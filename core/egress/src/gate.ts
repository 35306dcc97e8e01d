import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, Socket, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ApprovalAnswer, Decided, HeldAttempt, NetworkState } from '@caisson/contract';
import { Admitted, type Admission, type AdmissionMessage, type PutOnRecord } from './admitted.ts';
import { shareOf } from './approvals.ts';
import type { GateRooms } from './call.ts';
import { serveDnsTcp, serveDnsUdp } from './dns-service.ts';
import { serveDirect, serveHttpProxy, serveSocks } from './doors.ts';
import { HttpRelay } from './http-relay.ts';
import { askAgainInMs, valuesOf, type ValueOf } from './values.ts';
import { readRefusedPackets, type RefusedPacket } from './nflog.ts';
import { linkAddress } from './plan.ts';
import type { Resolve } from './resolve.ts';
import { Neighbours } from './turn.ts';

/** Descriptors of the gate's namespace, as caisson-gate hands them on. */
export interface GateDescriptors {
  /** Listens transparently: the address of our end of a connection is the one that the sandbox meant. */
  readonly tcp: number;
  readonly dnsUdp: number;
  readonly dnsTcp: number;
  readonly httpProxy: number;
  readonly socks: number;
  /** Datagrams of nfnetlink_log, each after its length in 4 bytes, little-endian. */
  readonly seen: number;
}

export interface GateOptions {
  readonly descriptors: GateDescriptors;
  readonly record: PutOnRecord;
  readonly resolve: Resolve;
  readonly valueOf: ValueOf;
  /** Holds a folder for each sandbox, by its address, in which it reads what was refused to it. */
  readonly denials: string;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** Told when nothing tells any more what the kernel refuses: a gate that does not see goes, and another comes. */
  readonly onBlind: () => void;
}

/** How often what was only counted is put on record. */
const TELL_MS = 10_000;
/** Longest pause between two looks at whether values are to be asked for again: as long the values of a sandbox that is gone are remembered. */
const LOOK_MS = 10_000;
/** One has 2 KiB at most, and a reply 4 MiB. */
const HELD_TOLD = 1_000;
/** The prefix of profiles/egress/gate.nft for packets with another source. */
const FORGED = 'forged';
const ONLY_NAMES = { reason: 'only names that a rule allows can be reached, by TCP', wouldAllow: 'the name of the host, and --allow HOST:PORT' };

/** The one door between sandboxes and the network. */
export class Gate implements AsyncDisposable {
  readonly #options: GateOptions;
  readonly #admitted = new Map<string, Admitted>();
  readonly #byAddress = new Map<string, Admitted>();
  readonly #admitting = new Map<string, Promise<void>>();
  readonly #servers: Server[] = [];
  readonly #closers: (() => void)[] = [];
  readonly #neighbours: Neighbours;
  #connections = 0;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#neighbours = new Neighbours(options.nowMs);
  }

  async open(): Promise<void> {
    const { descriptors: { tcp, dnsUdp, dnsTcp, httpProxy, socks, seen }, resolve, nowMs, wallMs } = this.#options;
    const nextId = (): number => (this.#connections += 1);
    const relay = new HttpRelay({ resolve, nowMs, wallMs, nextId });
    const rooms: GateRooms = { resolve, nowMs, wallMs, nextId, serveHttp: (call) => relay.serve(call), serveHttps: (call) => relay.serveSecure(call) };
    const find = (address: string | undefined): Admitted | undefined => this.#byAddress.get(address ?? '');
    serveDirect(await this.#listen(tcp), find, rooms);
    serveDnsTcp(await this.#listen(dnsTcp, { paused: false }), find);
    serveHttpProxy(await this.#listen(httpProxy), find, { ...rooms, serveRequests: (client, admitted, head) => relay.serveProxy(client, admitted, head) });
    serveSocks(await this.#listen(socks), find, rooms);
    serveDnsUdp(await this.#bind(dnsUdp), find);
    this.#watch(seen);
    const telling = setInterval(() => void this.#tellAll(), TELL_MS);
    this.#closers.push(() => clearInterval(telling));
  }

  async #listen(fd: number, { paused = true } = {}): Promise<Server> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: paused, noDelay: true });
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ fd }, resolve));
    return server;
  }

  async #bind(fd: number): Promise<UdpSocket> {
    const socket = createSocket('udp4');
    this.#closers.push(() => socket.close());
    await new Promise<void>((resolve, reject) => socket.once('error', reject).bind({ fd }, resolve));
    socket.on('error', () => undefined); // an answer that cannot be sent is lost, as any datagram may be
    return socket;
  }

  /** What the kernel has refused in this namespace. */
  #watch(fd: number): void {
    const socket = new Socket({ fd, readable: true, writable: false });
    let isClosing = false;
    this.#closers.push(() => {
      isClosing = true;
      socket.destroy();
    });
    socket.once('close', () => isClosing || this.#options.onBlind());
    let held: Buffer = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (piece: Buffer) => {
      held = held.length === 0 ? piece : Buffer.concat([held, piece]);
      for (let length = lengthOf(held); length !== null && held.length >= 4 + length; length = lengthOf(held)) {
        for (const packet of readRefusedPackets(held.subarray(4, 4 + length))) this.#saw(packet);
        held = held.subarray(4 + length);
      }
    });
  }

  /** Whose packet it was says the link by which it came, and not its source. */
  #saw({ family, destination, protocol, port, interfaceIndex, prefix }: RefusedPacket): void {
    const to = `${family === 'ipv6' ? `[${destination}]` : destination}${port === null ? '' : `:${port}`}/${protocol}`;
    const why = prefix === FORGED ? { reason: 'its source is not the address of the sandbox' } : ONLY_NAMES;
    this.#byAddress.get(linkAddress(interfaceIndex ?? 0))?.refuse({ what: 'packet', to, rule: null, ...why });
  }

  async #tellAll(): Promise<void> {
    await Promise.all([...this.#admitted.values()].map((admitted) => admitted.tellCounts().catch(() => undefined)));
  }

  /**
   * Lets a sandbox speak, or gives one that may other rules. Admissions of one sandbox hold one after the other, in the order
   * in which they came. A secret that the vault does not give is not put in, and asked for again until it is given.
   */
  async admit({ leases, ...message }: AdmissionMessage): Promise<void> {
    const before = this.#admitting.get(message.sandbox);
    const admitting = (async () => {
      const held = await valuesOf(leases, message.sandbox, this.#options.valueOf);
      await before?.catch(() => undefined);
      this.#admit({ ...message, held });
      await this.#admitted.get(message.sandbox)?.denials.open(); // what begins finds the file
      void this.#askAgain(message.sandbox);
    })();
    this.#admitting.set(message.sandbox, admitting);
    try {
      await admitting;
    } finally {
      if (this.#admitting.get(message.sandbox) === admitting) this.#admitting.delete(message.sandbox);
    }
  }

  async #askAgain(sandbox: string): Promise<void> {
    const admitted = this.#admitted.get(sandbox);
    if (admitted === undefined) return;
    const { held } = admitted;
    const inMs = askAgainInMs(held, this.#options.wallMs());
    if (inMs === Infinity) return;
    await delay(Math.min(inMs, LOOK_MS), undefined, { ref: false });
    if (this.#admitted.get(sandbox) !== admitted || admitted.held !== held) return; // who admitted it since asks for itself
    if (inMs <= LOOK_MS) {
      const again = await valuesOf(held.map(({ lease }) => lease), sandbox, this.#options.valueOf);
      if (admitted.held !== held) return;
      admitted.held = again;
    }
    return this.#askAgain(sandbox);
  }

  #admit(message: Admission): void {
    const known = this.#admitted.get(message.sandbox);
    if (known !== undefined && known.address === message.address) return known.change(message);
    if (known !== undefined) this.#forget(known);
    const stale = this.#byAddress.get(message.address); // the address was given away: whoever had it is gone
    if (stale !== undefined) this.#forget(stale);
    const admitted = new Admitted(message, { ...this.#options, neighbours: this.#neighbours });
    this.#admitted.set(message.sandbox, admitted);
    this.#byAddress.set(message.address, admitted);
  }

  #forget(admitted: Admitted): void {
    admitted.approvals.end('the sandbox was closed');
    admitted.denials.close();
    this.#admitted.delete(admitted.sandbox);
    if (this.#byAddress.get(admitted.address) === admitted) this.#byAddress.delete(admitted.address);
  }

  /** Resolves with the last state of the sandbox when everything of it is cut and what passed is on record; with null when it is not known. */
  async dismiss(sandbox: string, why: string): Promise<NetworkState | null> {
    await this.#admitting.get(sandbox)?.catch(() => undefined);
    const admitted = this.#admitted.get(sandbox);
    if (admitted === undefined) return null;
    this.#forget(admitted);
    return admitted.dismiss(why);
  }

  /** What waits for a decision, of all sandboxes: as much as one reply holds, of each its oldest first. */
  held(): readonly HeldAttempt[] {
    return shareOf([...this.#admitted.values()].map(({ approvals }) => approvals.list()), HELD_TOLD);
  }

  /** Null: nothing waits under this id. */
  decide(sandbox: string, approval: string, answer: ApprovalAnswer): Decided | null {
    return this.#admitted.get(sandbox)?.approvals.answer(approval, answer) ?? null;
  }

  state(sandbox: string): NetworkState | null {
    return this.#admitted.get(sandbox)?.state() ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.toReversed()) close();
    for (const server of this.#servers) server.close();
    await Promise.all([...this.#admitted.keys()].map((sandbox) => this.dismiss(sandbox, 'the gate is closed').catch(() => undefined)));
  }
}

function lengthOf(held: Buffer): number | null {
  return held.length < 4 ? null : held.readUInt32LE(0);
}

/** Which descriptor is which, from the text `tcp=20,dns-udp=21,…`. */
export function readDescriptors(text: string): GateDescriptors {
  const named = new Map(text.split(',').map((item) => [item.slice(0, item.indexOf('=')), Number(item.slice(item.indexOf('=') + 1))]));
  const of = (name: string): number => {
    const fd = named.get(name);
    if (fd === undefined || !Number.isInteger(fd) || fd < 3) throw new Error(`no descriptor for ${name}`);
    return fd;
  };
  return { tcp: of('tcp'), dnsUdp: of('dns-udp'), dnsTcp: of('dns-tcp'), httpProxy: of('http-proxy'), socks: of('socks'), seen: of('seen') };
}


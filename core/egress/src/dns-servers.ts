import { isIPv6 } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { SecureDnsServer } from '@caisson/contract';
import type { Question, ServerAnswer } from './dns-answer.ts';
import { ASKED_MOST, type DnsLine, type Heard } from './dns-line.ts';
import { DnsOverHttps } from './dns-over-https.ts';
import { DnsOverTls } from './dns-over-tls.ts';
import { dial } from './dial.ts';
import { proved } from './proved.ts';

/** Longest that one server is waited for, and how often all of them are asked, as the resolver of the host does it. */
const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** Longest until a server has proved who it is. */
const OPEN_MS = 2 * TIMEOUT_MS;
/** Connections to one server: each carries some questions, so that servers of slow names do not hold up those of others. */
const LINES_MOST = 32;
/** How long a server that could not be reached, or did not prove its name, is not tried again. */
const FAILED_MS = 500;
/** How long a connection takes questions: what a server proved is proved again. */
const LIFE_MS = 600_000;

/** Whom a server has to convince, and the name of that: connections are shared by those that trust the same. */
export interface ServerTrust {
  readonly context: SecureContext;
  readonly digest: string;
}

type Opened = { readonly line: DnsLine } | { readonly silent: string };

/** A connection to be, or one that is there. */
interface Slot {
  readonly opened: Promise<Opened>;
  readonly untilMs: number;
  line: DnsLine | null;
  waiting: number;
}

interface Server {
  readonly slots: Set<Slot>;
  failed: { readonly silent: string; readonly untilMs: number } | null;
}

/** DNS servers that are asked by TLS or HTTPS. Nothing is ever asked of them in the open (RFC 8310 §5, strict). */
export class DnsServers implements Disposable {
  readonly #nowMs: () => number;
  readonly #servers = new Map<string, Server>();
  readonly #closed = new AbortController();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Asks one server after the other until one answers, and all of them once more. Why there is no answer says the last that was asked. */
  async ask(servers: readonly SecureDnsServer[], question: Question, trust: ServerTrust): Promise<Exclude<ServerAnswer, { refused: string }> | { readonly failed: string }> {
    let failed = 'there is no DNS server';
    for (let turn = 0; turn < TRIES * servers.length && !this.#closed.signal.aborted; turn++) {
      const server = servers[turn % servers.length];
      if (server === undefined) break;
      const heard = await this.#askOne(server, question, trust);
      if ('answer' in heard && !('refused' in heard.answer)) return heard.answer;
      const why = 'silent' in heard ? heard.silent : 'refused' in heard.answer ? heard.answer.refused : '';
      failed = `the DNS server ${server.name} by ${server.transport}: ${why}`;
    }
    return { failed };
  }

  async #askOne(to: SecureDnsServer, question: Question, trust: ServerTrust): Promise<Heard> {
    const key = `${to.transport} ${to.address} ${to.port} ${to.name}${to.path} ${trust.digest}`;
    const server = this.#servers.get(key) ?? { slots: new Set(), failed: null };
    this.#servers.set(key, server);
    const slot = this.#slotOf(server) ?? this.#openSlot(server, to, trust);
    if ('silent' in slot) return slot;
    slot.waiting += 1;
    const opened = await within(slot.opened, TIMEOUT_MS);
    slot.waiting -= 1;
    return 'silent' in opened ? opened : opened.line.ask(question, TIMEOUT_MS);
  }

  /** A connection with room for one question more: one that is open before one that is to be. */
  #slotOf(server: Server): Slot | null {
    let toBe: Slot | null = null;
    for (const slot of server.slots) {
      if (slot.line?.isOpen === false) server.slots.delete(slot);
      else if (slot.untilMs <= this.#nowMs() || (slot.line?.asked ?? 0) + slot.waiting >= ASKED_MOST) continue;
      else if (slot.line !== null) return slot;
      else toBe ??= slot;
    }
    return toBe;
  }

  /** That one connection could not be opened says nothing of those that are open, and only another is not tried for a while. */
  #openSlot(server: Server, to: SecureDnsServer, trust: ServerTrust): Slot | { readonly silent: string } {
    const nowMs = this.#nowMs();
    if (server.failed !== null && server.failed.untilMs > nowMs) return server.failed;
    const taking = [...server.slots].filter(({ untilMs }) => untilMs > nowMs);
    if (taking.length >= LINES_MOST) return { silent: 'it is asked too much at once' };
    const opened = open(to, trust.context, this.#closed.signal).catch((error: Error) => ({ silent: error.message }));
    const slot: Slot = { opened, untilMs: nowMs + LIFE_MS, line: null, waiting: 0 };
    server.slots.add(slot);
    void opened.then((each) => {
      if ('line' in each) {
        slot.line = each.line;
        server.failed = null;
      } else {
        server.slots.delete(slot);
        server.failed = { silent: each.silent, untilMs: this.#nowMs() + FAILED_MS };
      }
    });
    return slot;
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    for (const { slots } of this.#servers.values()) for (const { line } of slots) line?.close();
    this.#servers.clear();
  }
}

async function open({ transport, address, port, name, path }: SecureDnsServer, trust: SecureContext, closed: AbortSignal): Promise<Opened> {
  const signal = AbortSignal.any([closed, AbortSignal.timeout(OPEN_MS)]);
  const dialled = await dial([{ address, family: isIPv6(address) ? 6 : 4, exception: null }], port, signal);
  if ('failed' in dialled) return { silent: dialled.failed };
  const secure = await proved(dialled.socket, { host: name, trust, signal, protocols: transport === 'https' ? ['h2'] : [] });
  if ('failed' in secure) return { silent: secure.failed };
  const { socket } = secure;
  if (closed.aborted) socket.destroy();
  if (transport === 'tls') return { line: new DnsOverTls(socket) };
  if (socket.alpnProtocol !== 'h2') {
    socket.destroy();
    return { silent: 'it does not speak HTTP/2' };
  }
  const host = isIPv6(name) ? `[${name}]` : name;
  return { line: new DnsOverHttps(socket, { authority: port === 443 ? host : `${host}:${port}`, path }) };
}

async function within(opened: Promise<Opened>, timeoutMs: number): Promise<Opened> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Opened>((resolve) => void (timer = setTimeout(() => resolve({ silent: `no connection within ${timeoutMs} ms` }), timeoutMs)));
  try {
    return await Promise.race([opened, late]);
  } finally {
    clearTimeout(timer);
  }
}

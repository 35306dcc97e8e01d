/**
 * A whole Internet for tests, in two network namespaces that end with the test.
 *
 *     host                                     internet
 *     a Caisson, or any program  ---- veth ----  every address and port answers, and is logged
 *
 * In `internet` every IPv4 and IPv6 address is local: public, private and metadata ones alike. DNS answers from a zone that the
 * test sets; 80 and 8080 speak HTTP, 443 and 8443 TLS, 853 DNS over TLS, 1080 SOCKS, 7 echoes, 9 only counts; any other port
 * looks at the first bytes and speaks TLS, HTTP or echo; UDP echoes. HTTP says what it saw as JSON; `/redirect?to=URL`, `/bytes/N`
 * and `/dns-query` (RFC 8484) do what they say. Nothing is translated: tproxy keeps the addresses that were meant (wire.py).
 * Every packet is counted on the wire itself, so *nothing was sent* is measured and not inferred from servers that were silent.
 */
import { execFileSync, type ChildProcess } from 'node:child_process';
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join as joinPath } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { IS_ROOT } from '../../harness.ts';
import { makeAuthority, type Presented } from './certificates.ts';
import type { Answer } from './dns.ts';
import { logBytes, readLog, type Seen } from './log.ts';
import { endHeld, endProcessesOf, failed, holdNamespaces, join, netns, ownFolder, startHeld, sweepDead } from './namespaces.ts';
import type { Order } from './server.ts';

/** Name servers that `host` asks. Any other address answers too. */
const RESOLVERS = ['9.9.9.9', '2620:fe::fe'] as const;
const PORT = 50_000;
/** Where programs look for the authorities that they trust. */
const TRUST = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'PIP_CERT', 'REQUESTS_CA_BUNDLE'];
const TOOLS = ['ip', 'nft', 'nsenter', 'openssl', 'python3', 'unshare'];

const isHere = (tool: string): boolean => [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => isProgram(joinPath(folder, tool)));

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Why there can be no fake Internet here, or false: as the `skip` of a test wants it. */
export function noInternet(): string | false {
  if (!IS_ROOT) return 'needs root: it makes network namespaces';
  const missing = TOOLS.filter((tool) => !isHere(tool));
  return missing.length === 0 ? false : `needs ${missing.join(', ')}`;
}

export interface Internet extends AsyncDisposable {
  readonly zone: {
    /** Sets what a name answers. Of a list the n-th entry answers the n-th query of each type, the last all that follow. */
    set(name: string, answer: Answer | readonly Answer[]): Promise<void>;
    /** From now on the name does not exist. */
    delete(name: string): Promise<void>;
  };
  /** Changes the certificate that is shown to whoever asks for this server name, or comes to this address without one. */
  present(server: string, how: Presented): Promise<void>;
  /** All that was seen so far; what is on its way in a server may be missing, what came over the wire is not. */
  seen(): Promise<Seen>;
  mark(): Promise<number>;
  since(mark: number): Promise<Seen>;
  /** What was seen from the mark on, once it is enough. @throws Error with what there is after `timeoutMs`, default 30,000 */
  until(isEnough: (seen: Seen) => boolean, options?: { readonly mark?: number; readonly timeoutMs?: number }): Promise<Seen>;
  /** The argv that runs a program in `host`, in the present folder, with its resolver, and trusting the authority. */
  inHost(argv: readonly string[]): readonly string[];
  /** The argv that runs a real server in `internet`; its port must be one of `ownPorts`. */
  inInternet(argv: readonly string[]): readonly string[];
  readonly caPem: string;
  readonly caFile: string;
  readonly hostNetns: string;
}

export interface InternetOptions {
  /** TCP ports that servers of the test serve in `internet`, at every address. Default none. */
  readonly ownPorts?: readonly number[];
}

/** @throws Error when namespaces cannot be made here; `noInternet` says so first */
export async function openInternet({ ownPorts = [] }: InternetOptions = {}): Promise<Internet> {
  await sweepDead();
  const dir = ownFolder();
  let holder: ChildProcess | undefined;
  let server: ChildProcess | undefined;
  const close = async (): Promise<void> => {
    await endProcessesOf(dir, holder?.pid === undefined ? [] : [holder.pid]);
    await Promise.all([endHeld(server), endHeld(holder)]);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const caPem = makeAuthority(dir);
    writeFileSync(`${dir}/resolv.conf`, RESOLVERS.map((address) => `nameserver ${address}\n`).join(''), { mode: 0o644 });
    holder = await holdNamespaces();
    const hostPid = holder.pid ?? 0;
    execFileSync('nsenter', [`--mount=/proc/${hostPid}/ns/mnt`, '--', 'mount', '--bind', `${dir}/resolv.conf`, '/etc/resolv.conf']);
    const program = [process.execPath, '--disable-warning=ExperimentalWarning', `${import.meta.dirname}/server.ts`];
    server = startHeld(['unshare', '--net', 'python3', `${import.meta.dirname}/wire.py`, `${dir}/log.jsonl`, `${PORT}`, ...program, dir]);
    const order = await orders(server);
    const internetPid = server.pid ?? 0;
    join({ host: hostPid, internet: internetPid }, { port: PORT, ownPorts });
    return { ...facade({ dir, order, hostPid, internetPid, caPem }), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Gives orders to the servers: each resolves when it is done. Resolves once they listen. */
async function orders(server: ChildProcess): Promise<(order: Order) => Promise<void>> {
  const waiting = new Map<number, () => void>();
  createInterface({ input: server.stdout ?? process.stdin }).on('line', (line) => {
    const { id } = JSON.parse(line) as { id: number };
    waiting.get(id)?.();
    waiting.delete(id);
  });
  let last = 0;
  const dead = failed(server, 'the fake Internet');
  dead.catch(() => undefined); // whoever gives an order hears of it
  const done = (id: number): Promise<void> => Promise.race([new Promise<void>((resolve) => void waiting.set(id, resolve)), dead]);
  await done(0);
  return (order) => {
    const id = ++last;
    const reply = done(id);
    server.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    return reply;
  };
}

/** What an error says of it: how much there is, and the start of the last of each. */
function summary(seen: Seen): string {
  const last = (all: readonly unknown[]): string => JSON.stringify(all.at(-1) ?? null).slice(0, 300);
  return Object.entries(seen).map(([what, all]: [string, number | readonly unknown[]]) => (typeof all === 'number' ? `${what} ${all}` : `${all.length} ${what}, last ${last(all)}`)).join('; ');
}

interface Parts {
  readonly dir: string;
  readonly order: (order: Order) => Promise<void>;
  readonly hostPid: number;
  readonly internetPid: number;
  readonly caPem: string;
}

function facade({ dir, order, hostPid, internetPid, caPem }: Parts): Omit<Internet, keyof AsyncDisposable> {
  const log = `${dir}/log.jsonl`;
  const caFile = `${dir}/ca.crt`;
  const since = async (mark: number): Promise<Seen> => {
    await order({ type: 'flush' });
    return readLog(log, mark);
  };
  const entered = (pid: number, argv: readonly string[]): readonly string[] => [
    'nsenter', `--net=${netns(pid)}`, `--mount=/proc/${hostPid}/ns/mnt`, '--',
    'env', '-C', process.cwd(), ...TRUST.map((name) => `${name}=${caFile}`), ...argv,
  ];
  return {
    zone: {
      set: (name, answer) => order({ type: 'zone', name: name.toLowerCase(), answers: [answer].flat() }),
      delete: (name) => order({ type: 'zone', name: name.toLowerCase(), answers: null }),
    },
    present: (name, how) => order({ type: 'present', name, how }),
    seen: () => since(0),
    since,
    async mark() {
      await order({ type: 'flush' });
      return logBytes(log);
    },
    async until(isEnough, { mark = 0, timeoutMs = 30_000 } = {}) {
      for (const end = performance.now() + timeoutMs; ; await delay(20)) {
        const seen = await since(mark);
        if (isEnough(seen)) return seen;
        if (performance.now() > end) throw new Error(`not seen in ${timeoutMs} ms; there is ${summary(seen)}`);
      }
    },
    inHost: (argv) => entered(hostPid, argv),
    inInternet: (argv) => entered(internetPid, argv),
    caPem,
    caFile,
    hostNetns: netns(hostPid),
  };
}

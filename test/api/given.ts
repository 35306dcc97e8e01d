import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type Agent, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import type { Duplex } from 'node:stream';
import { CaissonError, type CreateRequest, type ExecEvent, type ExecInfo, type Limits, type SandboxInfo } from '@caisson/contract';
import { openApi, openTokens, type Api, type ApiOptions, type ApiRooms, type Tokens } from '@caisson/daemon';
import type { SandboxService } from '@caisson/sandbox';

const LIMITS: Limits = {
  wallMs: 60_000, cpuMs: 60_000, memoryBytes: 2 ** 29, pids: 50, cpuMillis: 1000, outputBytes: 2 ** 20,
  workspaceBytes: 2 ** 30, tmpBytes: 2 ** 26, inodes: 10_000, openFiles: 256,
};
const id = (prefix: string): string => `${prefix}-${BigInt(`0x${randomBytes(10).toString('hex')}`).toString(36).padStart(16, '0').slice(-16)}`;

/** One exec of the double: what it has written so far, and whether it has ended. */
interface Kept {
  info: ExecInfo;
  readonly events: Extract<ExecEvent, { type: 'output' }>[];
  stdin: Buffer;
  readonly changed: EventTarget;
}

/** Sandboxes in memory, for claims about the routes alone. What a program would do is done by the test. */
export interface Double extends SandboxService {
  readonly asked: { readonly verb: string; readonly caller: string; readonly key: string | undefined; readonly detail?: unknown }[];
  /** Followers under way. */
  readonly followers: () => number;
  output(exec: string, bytes: Buffer, stream?: 'stdout' | 'stderr'): void;
  end(exec: string, code?: number): void;
  /** What a port of a sandbox answers. */
  dialled: (port: number) => Duplex;
}

function sandboxesInMemory(): Double {
  const sandboxes = new Map<string, SandboxInfo>();
  const execs = new Map<string, Kept>();
  const asked: Double['asked'][number][] = [];
  const state = { followers: 0 };

  const get = (name: string): SandboxInfo => {
    const found = sandboxes.get(name) ?? [...sandboxes.values()].find((info) => info.name === name);
    if (found === undefined) throw new CaissonError('SANDBOX_NOT_FOUND', { sandbox: name });
    return found;
  };
  const kept = (sandbox: string, exec: string): Kept => {
    const found = execs.get(exec);
    if (found === undefined || found.info.sandbox !== get(sandbox).id) throw new CaissonError('EXEC_NOT_FOUND', { sandbox, exec });
    return found;
  };
  const put = (info: SandboxInfo): SandboxInfo => {
    sandboxes.set(info.id, info);
    return info;
  };
  const changed = (exec: Kept): void => void exec.changed.dispatchEvent(new Event('changed'));

  return {
    asked,
    followers: () => state.followers,
    dialled: () => {
      throw new CaissonError('PORT_REFUSED', { port: 1, detail: 'ECONNREFUSED' });
    },
    async create(request, { caller, key }) {
      asked.push({ verb: 'create', caller, key, detail: request });
      return put(infoOf(request));
    },
    list: () => [...sandboxes.values()].toReversed(),
    get,
    usage: async (sandbox) => (get(sandbox), { cpuMs: 1, memoryBytes: 2, memoryPeakBytes: 3, pids: 1, pidsPeak: 2, oomKills: 0 }),
    renew: (sandbox, renewal) => put({ ...get(sandbox), ...(renewal.idleMs === undefined ? {} : { idleMs: renewal.idleMs }) }),
    async networkState(sandbox) {
      const { id: found, network, secrets } = get(sandbox);
      if (network === null) throw new CaissonError('NETWORK_ABSENT', { sandbox: found });
      return { rules: network.rules, secrets: secrets.filter((secret) => secret === USED.secret).map(() => USED), connections: [], passed: { connections: 1, bytesOut: 2, bytesIn: 3 }, refused: [REFUSED], refusedTotal: 7 };
    },
    async changeNetwork(sandbox, network, { caller, key }) {
      asked.push({ verb: 'network', caller, key, detail: network });
      if (get(sandbox).network !== null) put({ ...get(sandbox), network });
      return this.networkState(sandbox);
    },
    async secrets(sandbox) {
      return get(sandbox).secrets.map((secret) => ({ file: null, expiresMs: null, ...(secret === USED.secret ? USED : { secret, uses: 0, lastMs: null }) }));
    },
    async revokeSecret(sandbox, secret, { caller, key }) {
      const found = get(sandbox);
      if (!found.secrets.includes(secret)) throw new CaissonError('LEASE_NOT_FOUND', { sandbox: found.id, secret });
      asked.push({ verb: 'revokeSecret', caller, key, detail: { sandbox: found.id, secret } });
      return put({ ...found, secrets: found.secrets.filter((name) => name !== secret) });
    },
    async rotateSecret(secret, { caller, key }) {
      if (!SECRETS.includes(secret)) throw new CaissonError('SECRET_UNKNOWN', { secret });
      asked.push({ verb: 'rotateSecret', caller, key, detail: secret });
      return [...sandboxes.values()].filter(({ secrets }) => secrets.includes(secret)).map((info) => info.id);
    },
    approvals: async () => [HELD],
    async decideApproval(approval, answer, { caller, key }) {
      if (approval !== HELD.id) throw new CaissonError('APPROVAL_NOT_FOUND', { approval });
      asked.push({ verb: 'approval', caller, key, detail: answer });
      return { ...HELD, decision: answer.decision, untilMs: 3 };
    },
    pause: async (sandbox) => {
      if (get(sandbox).state !== 'running') throw new CaissonError('SANDBOX_STATE', { sandbox, state: get(sandbox).state, detail: 'it cannot be paused' });
      return put({ ...get(sandbox), state: 'paused' });
    },
    resume: async (sandbox) => put({ ...get(sandbox), state: 'running' }),
    close: async (sandbox) => put({ ...get(sandbox), state: 'closed', endedMs: Date.now() }),
    async exec(sandbox, request, { caller, key }) {
      asked.push({ verb: 'exec', caller, key, detail: request });
      const info: ExecInfo = {
        id: id('exe'), sandbox: get(sandbox).id, program: request.argv[0] ?? '', state: 'running', tty: request.tty !== undefined, startedMs: Date.now(),
        endedMs: null, ending: null, exit: null, reason: null, output: null, evidence: { intent: { index: 0, hash: '0'.repeat(64) }, outcome: null },
      };
      execs.set(info.id, { info, events: [], stdin: Buffer.alloc(0), changed: new EventTarget() });
      return info;
    },
    execs: (sandbox) => [...execs.values()].map(({ info }) => info).filter((info) => info.sandbox === get(sandbox).id),
    execInfo: (sandbox, exec) => kept(sandbox, exec).info,
    async *recording(sandbox, exec) {
      yield* kept(sandbox, exec).events.map(({ bytes }) => Buffer.from(bytes));
    },
    async *follow(sandbox, exec, { from = 0, signal }) {
      const found = kept(sandbox, exec);
      if (found.events[0] !== undefined && from < found.events[0].offset) throw new CaissonError('OUTPUT_GONE', { asked: from, kept: found.events[0].offset });
      state.followers++;
      try {
        for (let at = 0; ; at++) {
          while (at >= found.events.length && found.info.state === 'running') {
            await new Promise<void>((resolve, reject) => {
              found.changed.addEventListener('changed', () => resolve(), { once: true, signal });
              signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
              if (signal.aborted) reject(signal.reason as Error);
            });
          }
          const event = found.events[at];
          if (event === undefined) break;
          const skip = Math.max(0, from - event.offset);
          if (skip < event.bytes.length) yield { ...event, offset: event.offset + skip, bytes: event.bytes.subarray(skip) };
        }
        yield { type: 'end', exec: found.info };
      } finally {
        state.followers--;
      }
    },
    async wait(sandbox, exec, { signal }) {
      const found = kept(sandbox, exec);
      while (found.info.state === 'running') {
        await new Promise<void>((resolve, reject) => {
          found.changed.addEventListener('changed', () => resolve(), { once: true });
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
      }
      return found.info;
    },
    async stdin(sandbox, exec, bytes, { offset }) {
      const found = kept(sandbox, exec);
      const skip = offset === undefined ? 0 : Math.max(0, found.stdin.length - offset);
      found.stdin = Buffer.concat([found.stdin, bytes.subarray(skip)]);
      return found.stdin.length;
    },
    endStdin: async (sandbox, exec) => void asked.push({ verb: 'endStdin', caller: '', key: undefined, detail: kept(sandbox, exec).stdin.toString() }),
    signal: async (sandbox, exec, signal) => void (kept(sandbox, exec), asked.push({ verb: 'signal', caller: '', key: undefined, detail: signal })),
    resize: async (sandbox, exec, size) => void (kept(sandbox, exec), asked.push({ verb: 'resize', caller: '', key: undefined, detail: size })),
    use: (sandbox) => (get(sandbox), { [Symbol.dispose]: () => undefined }),
    async dial(sandbox, port) {
      get(sandbox);
      return this.dialled(port);
    },
    files: async (sandbox) => {
      throw new CaissonError('SANDBOX_STATE', { sandbox: get(sandbox).id, state: 'running', detail: 'the double has no files' });
    },
    snapshot: async (sandbox, { label, memory }) => (get(sandbox), { id: id('lay'), label: label ?? null, createdMs: Date.now(), sizeBytes: 0, memory: memory === true }),
    fork: async (sandbox, request, { caller, key }) => {
      get(sandbox);
      asked.push({ verb: 'fork', caller, key, detail: request });
      return put(infoOf(request));
    },
    restore: async (sandbox) => get(sandbox),
    output(exec, bytes, stream = 'stdout') {
      const found = execs.get(exec);
      if (found === undefined) throw new Error(`no exec ${exec}`);
      const last = found.events.at(-1);
      found.events.push({ type: 'output', stream, offset: last === undefined ? 0 : last.offset + last.bytes.length, bytes });
      changed(found);
    },
    end(exec, code = 0) {
      const found = execs.get(exec);
      if (found === undefined) throw new Error(`no exec ${exec}`);
      const count = { written: 0, returned: 0, truncated: false, sha256: '0'.repeat(64) };
      found.info = { ...found.info, state: 'ended', endedMs: Date.now(), ending: { kind: 'exited', code }, exit: code, reason: `the command exited with ${code}`, output: { stdout: count, stderr: count } };
      changed(found);
    },
  };
}

/** What the gate has refused every sandbox of the double. */
const HELD = { id: 'apr-0123456789abcdef', sandbox: 'sbx-0123456789abcdef', what: 'connection', host: 'held.test', port: 443, method: null, path: null, rules: ['allow held.test:443'], sinceMs: 1, expiresMs: 2, waiting: 1 } as const;
const REFUSED = { what: 'connection', to: 'other.test:443', rule: null, reason: 'no rule of the call allows other.test:443', wouldAllow: '--allow other.test:443', count: 7, lastMs: 1 } as const;

/** What the policy of the double has, and what every sandbox of it has done with one of them. */
const SECRETS: readonly string[] = ['openai', 'github'];
const USED = { secret: 'openai', uses: 3, lastMs: 1 } as const;

function infoOf(request: CreateRequest): SandboxInfo {
  const level = request.level ?? 'container';
  return {
    id: id('sbx'), name: request.name ?? null, labels: request.labels ?? {}, state: 'running', reason: 'it runs',
    level: { requested: level, delivered: level, runtime: 'fake', kernel: '6.1' }, image: request.image ?? 'host', limits: LIMITS, notEnforced: [],
    terminals: request.terminals ?? true, auditMirror: request.auditMirror ?? false, network: request.network ?? (request.secrets === undefined ? null : { rules: [] }), secrets: request.secrets ?? [], workspace: { id: id('wsp'), name: request.workspace ?? null }, createdMs: Date.now(), endedMs: null,
    expiresMs: Date.now() + 3_600_000, idleMs: null, running: [], warm: false,
    decision: { effect: 'allow', rule: 'default', reason: 'allowed', level, limits: LIMITS, notEnforced: [] }, evidence: { intent: null, outcome: null }, timings: {},
  };
}

export interface Place extends AsyncDisposable {
  readonly api: Api;
  readonly double: Double;
  readonly tokens: Tokens;
  readonly socketPath: string;
  readonly dir: string;
  readonly logged: string[];
}

/** The API over sandboxes in memory, on a socket of its own. */
export async function apiInMemory({ rooms = {}, ...options }: Partial<Omit<ApiOptions, 'rooms'>> & { readonly rooms?: Partial<ApiRooms> } = {}): Promise<Place> {
  const dir = mkdtempSync(`${tmpdir()}/caisson-api-`);
  const double = sandboxesInMemory();
  const now = options.now ?? Date.now;
  const tokens = openTokens({ path: `${dir}/tokens.json`, now });
  const logged: string[] = [];
  const socketPath = `${dir}/api.sock`;
  const api = await openApi({
    rooms: { sandboxes: double, files: null, workspaces: null, images: null, tokens, status: async () => ({ calls: [] }) as never, record: async () => undefined, ...rooms },
    socketPath, now, log: (event, fields) => void logged.push(JSON.stringify({ event, ...fields })), ...options,
  }).catch((error: unknown) => {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  });
  return {
    api, double, tokens, socketPath, dir, logged,
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export interface Said {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly json: Record<string, unknown>;
}

export type Where = Pick<Place, 'socketPath'> | { readonly port: number; readonly host?: string };

interface Ask {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
}

/** One request, its body as JSON unless it is bytes. */
export function ask(where: Where, path: string, { method = 'GET', body, headers = {}, agent }: Ask = {}): Promise<Said> {
  const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const type = bytes === undefined || 'content-type' in headers ? {} : { 'content-type': Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json' };
  const length = bytes === undefined ? {} : { 'content-length': String(bytes.length) };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...where, path, method, headers: { ...type, ...length, ...headers }, agent: agent ?? false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const all = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes: all, json: jsonOf(all) });
      });
    });
    request.on('error', reject);
    request.end(bytes);
  });
}

function jsonOf(bytes: Buffer): Record<string, unknown> {
  try {
    return JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export interface Told {
  readonly event: string;
  readonly id: string | null;
  readonly data: Record<string, unknown>;
}

export interface Following extends AsyncIterable<Told>, Disposable {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** Opens a stream of events. Leaving it drops the connection. */
export function follow(where: Where, path: string, { method = 'GET', body, headers = {} }: Ask = {}): Promise<Following> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...where, path, method, agent: false, headers: { accept: 'text/event-stream', ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers } }, (response) => {
      response.on('error', () => undefined);
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        async *[Symbol.asyncIterator]() {
          let rest = '';
          for await (const chunk of response) {
            rest += (chunk as Buffer).toString('utf8');
            const blocks = rest.split('\n\n');
            rest = blocks.pop() ?? '';
            yield* blocks.map(toldOf).filter((told) => told !== null);
          }
        },
        [Symbol.dispose]: () => request.destroy(),
      });
    });
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** All that a stream tells until it ends or is cut. */
export async function everything(following: Following): Promise<readonly Told[]> {
  const all: Told[] = [];
  try {
    for await (const told of following) all.push(told);
  } catch {
    // it was cut: what it told until then counts
  }
  return all;
}

function toldOf(block: string): Told | null {
  const field = (name: string): string | undefined => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const event = field('event');
  return event === undefined ? null : { event, id: field('id') ?? null, data: JSON.parse(field('data') ?? 'null') as Record<string, unknown> };
}

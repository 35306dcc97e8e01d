import { CaissonError } from '@caisson/contract/errors';
import type { CreateRequest, Sandbox, SandboxInfo } from '@caisson/sdk';
import { networkOf, type NetworkFlags } from './allow.ts';
import { openApi, type Api } from './api.ts';
import { parseBytes, parseCount, parseCpuMillis, parseDurationMs, showBytes } from './quantity.ts';
import { environmentOf } from './run.ts';
import { note, print, printJson, printTable, showSpan, told } from './say.ts';

/** The options of `create` and `fork` as commander gives them. */
export interface CreateFlags extends NetworkFlags {
  readonly name?: string;
  readonly level?: string;
  readonly image?: string;
  readonly timeout?: string;
  readonly cpuTime?: string;
  readonly memory?: string;
  readonly pids?: string;
  readonly cpus?: string;
  readonly outputLimit?: string;
  readonly disk?: string;
  readonly ttl?: string;
  readonly idle?: string;
  readonly keepAlive?: boolean;
  readonly withMemory?: boolean;
  readonly workspace?: string;
  readonly from?: string;
  readonly label?: readonly string[];
  readonly env?: readonly string[];
  readonly secret?: readonly string[];
  readonly auditMirror?: boolean;
  readonly json?: boolean;
}

export interface Json {
  readonly json?: boolean;
}

/** What is asked for, without what is left out. @throws CaissonError USAGE */
export function createRequest(flags: CreateFlags): CreateRequest {
  const limits = defined({
    wallMs: flags.timeout === undefined ? undefined : parseDurationMs('--timeout', flags.timeout),
    cpuMs: flags.cpuTime === undefined ? undefined : parseDurationMs('--cpu-time', flags.cpuTime),
    memoryBytes: flags.memory === undefined ? undefined : parseBytes('--memory', flags.memory),
    pids: flags.pids === undefined ? undefined : parseCount('--pids', flags.pids),
    cpuMillis: flags.cpus === undefined ? undefined : parseCpuMillis('--cpus', flags.cpus),
    outputBytes: flags.outputLimit === undefined ? undefined : parseBytes('--output-limit', flags.outputLimit),
    workspaceBytes: flags.disk === undefined ? undefined : parseBytes('--disk', flags.disk),
  });
  return defined({
    name: flags.name,
    level: flags.level as CreateRequest['level'],
    image: flags.image,
    limits: Object.keys(limits).length === 0 ? undefined : limits,
    env: flags.env === undefined ? undefined : environmentOf(flags.env),
    labels: flags.label === undefined ? undefined : pairsOf('--label', flags.label),
    secrets: flags.secret,
    workspace: flags.workspace,
    from: flags.from,
    ttlMs: flags.ttl === undefined ? undefined : parseDurationMs('--ttl', flags.ttl),
    idleMs: flags.idle === undefined ? undefined : parseDurationMs('--idle', flags.idle),
    keepAlive: flags.keepAlive,
    memory: flags.withMemory,
    auditMirror: flags.auditMirror,
  });
}

type Defined<T> = { readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & { readonly [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** The fields that have a value. */
export function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function pairsOf(option: string, texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new CaissonError('USAGE', { detail: `${option}: ${text} is not NAME=VALUE` });
    return [text.slice(0, at), text.slice(at + 1)];
  }));
}

export async function create(flags: CreateFlags, home: string): Promise<number> {
  const network = await networkOf(flags);
  const request = { ...createRequest(flags), ...(network && { network }) };
  const { sdk, connection } = await openApi(home);
  return showMade(await sdk.Sandbox.create(request, { connection }), flags);
}

/** Prints a new sandbox: its id alone, because scripts take it from here. */
export async function showMade(box: Sandbox, { json }: Json): Promise<number> {
  if (json === true) printJson(await box.info());
  else print(`${box.id}\n`);
  return 0;
}

const isOver = ({ state }: SandboxInfo): boolean => state === 'closed' || state === 'lost';

export async function ls(flags: Json & { readonly all?: boolean; readonly label?: readonly string[] }): Promise<number> {
  const labels = pairsOf('--label', flags.label ?? []);
  const found = await allSandboxes(await openApi(), labels);
  const shown = flags.all === true ? found : found.filter((info) => !isOver(info));
  if (flags.json === true) printJson({ sandboxes: shown });
  else printTable(['ID', 'NAME', 'STATE', 'LEVEL', 'IMAGE', 'WORKSPACE', 'AGE', 'ENDS', 'EXECS'], shown.map(rowOf));
  return 0;
}

function rowOf(info: SandboxInfo): readonly string[] {
  const { id, name, state, level, image, workspace, createdMs, expiresMs, running } = info;
  const now = Date.now();
  const ends = isOver(info) ? '-' : `in ${showSpan(expiresMs - now)}`;
  return [id, name ?? '-', state, level.delivered ?? '-', image, workspace.name ?? '-', showSpan(now - createdMs), ends, running.length === 0 ? '-' : running.join(' ')];
}

/** Closes sandboxes and prints their ids. One that cannot be closed does not spare the others. */
export async function rm(ids: readonly string[], flags: Json & { readonly all?: boolean }): Promise<number> {
  if (flags.all === true ? ids.length > 0 : ids.length === 0) throw new CaissonError('USAGE', { detail: 'rm takes the ids of sandboxes, or --all' });
  const api = await openApi();
  const closed: string[] = [];
  let status = 0;
  for (const id of flags.all === true ? (await liveSandboxes(api)).map((info) => info.id) : ids) {
    try {
      const box = await api.box(id);
      await box.close();
      closed.push(box.id);
      if (flags.json !== true) print(`${box.id}\n`);
    } catch (error) {
      const { code, message, hint } = told(error);
      process.stderr.write(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
      status = 1;
    }
  }
  if (flags.json === true) printJson({ closed });
  return status;
}

async function allSandboxes({ sdk, connection }: Api, labels: Readonly<Record<string, string>> = {}): Promise<readonly SandboxInfo[]> {
  const found: SandboxInfo[] = [];
  for await (const info of sdk.Sandbox.list({ labels }, { connection })) found.push(info);
  return found;
}

/** The sandboxes that have not ended. */
export async function liveSandboxes(api: Api): Promise<readonly SandboxInfo[]> {
  return (await allSandboxes(api)).filter((info) => !isOver(info));
}

/** Gives a sandbox another time limit, counted from now. */
export async function renew(id: string, { ttl, idle, keepAlive, json }: Json & { readonly ttl?: string; readonly idle?: string; readonly keepAlive?: boolean }): Promise<number> {
  const renewal = defined({
    ttlMs: ttl === undefined ? undefined : parseDurationMs('--ttl', ttl),
    idleMs: idle === undefined ? undefined : parseDurationMs('--idle', idle),
    keepAlive,
  });
  if (Object.keys(renewal).length === 0) throw new CaissonError('USAGE', { detail: 'renew: it needs --ttl, --idle or --keep-alive' });
  const info = await (await (await openApi()).box(id)).renew(renewal);
  if (json === true) printJson(info);
  else note(`${info.id} ends in ${showSpan(info.expiresMs - Date.now())}`);
  return 0;
}

export async function setPaused(id: string, paused: boolean, { json }: Json): Promise<number> {
  const box = await (await openApi()).box(id);
  const info = await (paused ? box.pause() : box.resume());
  if (json === true) printJson(info);
  else note(`${info.id} is ${info.state}`);
  return 0;
}

/** What is live, in one line for `status`; null when the API does not answer. */
export async function liveSummary(): Promise<{ readonly states: Readonly<Record<string, number>>; readonly memoryBytes: number } | null> {
  try {
    const states: Record<string, number> = {};
    let memoryBytes = 0;
    for (const info of await liveSandboxes(await openApi())) {
      states[info.state] = (states[info.state] ?? 0) + 1;
      memoryBytes += info.limits.memoryBytes;
    }
    return { states, memoryBytes };
  } catch {
    return null;
  }
}

export function summaryText(summary: Awaited<ReturnType<typeof liveSummary>>): string {
  if (summary === null) return 'sandboxes  the API does not answer';
  const words = Object.entries(summary.states).map(([state, count]) => `${count} ${state}`);
  return `sandboxes  ${words.length === 0 ? 'none' : `${words.join(', ')}, at most ${showBytes(summary.memoryBytes)} of memory`}`;
}

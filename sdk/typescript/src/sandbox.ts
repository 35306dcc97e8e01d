import { connected, type Connecting, type Connection } from './connection.ts';
import { CaissonError } from './errors.ts';
import { exec, spawn, type ExecOptions, type SpawnOptions } from './exec.ts';
import { filesOf, type Aborting, type Files } from './files.ts';
import { execPath, execsPath } from './follow.ts';
import type { CreateRequest, ExecInfo, ForkRequest, LiveUsage, Renewal, SandboxInfo, SandboxState, SnapshotInfo } from './generated.ts';
import { askJson, newKey } from './http.ts';
import { networkOf, withRules, type Network, type WithRules } from './network.ts';
import { portsOf, type Ports } from './ports.ts';
import { Process } from './process.ts';
import type { PythonOptions } from './python-interpreter.ts';
import { PythonSession } from './python.ts';
import type { ExecResult } from './result.ts';
import { secretsOf, type Secrets } from './secrets.ts';

export interface Creating extends Connecting {
  /** Under which the same creation may be asked for again, also by another process. Default: a fresh one. */
  readonly idempotencyKey?: string;
}

export interface SandboxFilter {
  readonly state?: SandboxState;
  /** All must hold. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** One path that differs between two states of a workspace. */
export interface Change {
  readonly path: string;
  readonly kind: 'added' | 'changed' | 'removed';
  readonly type: string;
  readonly sizeBytes: number;
  /** Permission bits; of what was removed, those that it had. */
  readonly mode: number;
}

const SANDBOXES = '/v1/sandboxes';
const PAGE = 100;

/**
 * A computer of an agent. `await using` closes it at the end of its block; one that shall go on is left to its time
 * limits, and found again by `Sandbox.connect`.
 */
export class Sandbox implements AsyncDisposable {
  readonly id: string;
  /** Null when it was made without one. */
  readonly name: string | null;
  readonly files: Files;
  readonly ports: Ports;
  readonly network: Network;
  readonly secrets: Secrets;
  readonly #connection: Connection;

  private constructor(connection: Connection, { id, name }: Pick<SandboxInfo, 'id' | 'name'>) {
    this.#connection = connection;
    this.id = id;
    this.name = name;
    this.files = filesOf(connection, id);
    this.ports = portsOf(connection, id);
    this.network = networkOf(connection, id);
    this.secrets = secretsOf(connection, id);
  }

  /**
   * Makes a sandbox and starts it. However often the connection breaks, one is made. Without `network` it can never reach
   * anything; the rules of one that it has can be changed (`box.network`). `secrets` names those of the policy that it may use
   * and never sees (`box.secrets`); it reaches their hosts by that.
   *
   * @throws CaissonError with the code of the API, such as LIMIT_EXCEEDS_POLICY or SECRET_UNKNOWN; DAEMON_UNREACHABLE
   */
  static async create(options: WithRules<CreateRequest> = {}, { signal, idempotencyKey, connection }: Creating = {}): Promise<Sandbox> {
    const to = connected(connection);
    return new Sandbox(to, await made(to, SANDBOXES, withRules(options), idempotencyKey, signal));
  }

  /** The sandbox with this id or name. @throws CaissonError SANDBOX_NOT_FOUND */
  static async connect(idOrName: string, { signal, connection }: Connecting = {}): Promise<Sandbox> {
    const to = connected(connection);
    return new Sandbox(to, await askJson<SandboxInfo>(to, { method: 'GET', path: pathOf(idOrName), repeatable: true, signal }));
  }

  /** What is told of each sandbox, newest first. Pages are fetched as they are needed. */
  static async *list({ state, labels = {} }: SandboxFilter = {}, { signal, connection }: Connecting = {}): AsyncGenerator<SandboxInfo, void> {
    const to = connected(connection);
    const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
    for (let cursor: string | undefined; ; ) {
      const query = { state, label, limit: PAGE, cursor };
      const page = await askJson<{ readonly sandboxes: readonly SandboxInfo[]; readonly next: string | null }>(to, { method: 'GET', path: SANDBOXES, query, repeatable: true, signal });
      yield* page.sandboxes;
      if (page.next === null) return;
      cursor = page.next;
    }
  }

  /** What is known of it now; after its end too. */
  info({ signal }: Aborting = {}): Promise<SandboxInfo> {
    return askJson(this.#connection, { method: 'GET', path: pathOf(this.id), repeatable: true, signal });
  }

  /** Ends every process of it. Closing a closed one does nothing. */
  async close({ signal }: Aborting = {}): Promise<void> {
    await askJson(this.#connection, { method: 'DELETE', path: pathOf(this.id), repeatable: true, signal }).catch(overAlready);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Freezes every process of it; its files stay within reach. */
  pause({ signal }: Aborting = {}): Promise<SandboxInfo> {
    return this.#verb('pause', {}, signal);
  }

  resume({ signal }: Aborting = {}): Promise<SandboxInfo> {
    return this.#verb('resume', {}, signal);
  }

  /** Gives it another time limit, counted from now. */
  renew(renewal: Renewal, { signal }: Aborting = {}): Promise<SandboxInfo> {
    return askJson(this.#connection, { method: 'PATCH', path: pathOf(this.id), json: renewal, repeatable: true, signal });
  }

  usage({ signal }: Aborting = {}): Promise<LiveUsage> {
    return askJson(this.#connection, { method: 'GET', path: `${pathOf(this.id)}/usage`, repeatable: true, signal });
  }

  /**
   * Keeps its workspace as it is now, and with `memory` its running processes as well. However often the connection breaks,
   * one is kept.
   *
   * @param options.idempotencyKey under which the same snapshot may be asked for again, also by another process; default a fresh one
   * @throws CaissonError CHECKPOINT_UNAVAILABLE for memory at a level that cannot save it
   */
  snapshot({ label, memory, idempotencyKey, signal }: Omit<Creating, 'connection'> & { readonly label?: string; readonly memory?: boolean } = {}): Promise<SnapshotInfo> {
    const json = { ...(label === undefined ? {} : { label }), ...(memory === undefined ? {} : { memory }) };
    return made(this.#connection, `${pathOf(this.id)}/snapshots`, json, idempotencyKey, signal);
  }

  /** A new sandbox whose workspace starts as this one's is now. What `options` leave out is as in this one; its secrets are leased anew. */
  async fork(options: WithRules<ForkRequest> = {}, { signal, idempotencyKey }: Omit<Creating, 'connection'> = {}): Promise<Sandbox> {
    return new Sandbox(this.#connection, await made(this.#connection, `${pathOf(this.id)}/fork`, withRules(options), idempotencyKey, signal));
  }

  /** Gives the workspace the files of a snapshot, its own or another's, instead of those it has. Its processes end, and it is started anew. */
  restore(snapshot: string | Pick<SnapshotInfo, 'id'>, { signal }: Aborting = {}): Promise<SandboxInfo> {
    return this.#verb('restore', { snapshot: typeof snapshot === 'string' ? snapshot : snapshot.id }, signal);
  }

  /** What its workspace has that a snapshot has not; without one, since it was made. */
  changes({ from, limit, signal }: Aborting & { readonly from?: string; readonly limit?: number } = {}): Promise<{ readonly changes: readonly Change[]; readonly truncated: boolean }> {
    return askJson(this.#connection, { method: 'GET', path: `${pathOf(this.id)}/changes`, query: { from, limit }, repeatable: true, signal });
  }

  /**
   * Runs a command and waits for its end. A command that fails is a result, not an exception, unless `check` is given.
   * Aborting kills it, unless `killOnAbort` is false.
   *
   * @throws ExecError with `check`; CaissonError; the signal's reason
   */
  exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return exec(this.#connection, this.id, argv, options);
  }

  /** Runs a script of /bin/sh and waits for its end. What is put into the script is code: pass values by `env`. */
  sh(script: string, options: ExecOptions = {}): Promise<ExecResult> {
    return this.exec(['/bin/sh', '-c', script], options);
  }

  /** Starts a command and leaves it running. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<Process> {
    return spawn(this.#connection, this.id, argv, options);
  }

  /** Starts a Python interpreter that keeps its variables. @throws CaissonError COMMAND_NOT_FOUND in an image without Python */
  python(options: PythonOptions = {}): Promise<PythonSession> {
    return PythonSession.open(this.#connection, this.id, options);
  }

  /** A command that was started before, by whomever. @throws CaissonError EXEC_NOT_FOUND */
  async attach(execId: string, { signal }: Aborting = {}): Promise<Process> {
    const info = await askJson<ExecInfo>(this.#connection, { method: 'GET', path: execPath({ sandbox: this.id, exec: execId }), repeatable: true, signal });
    return new Process(this.#connection, info, null);
  }

  /** The commands of it that are still known. */
  async execs({ signal }: Aborting = {}): Promise<readonly ExecInfo[]> {
    const { execs } = await askJson<{ readonly execs: readonly ExecInfo[] }>(this.#connection, { method: 'GET', path: execsPath(this.id), repeatable: true, signal });
    return execs;
  }

  #verb(verb: string, json: unknown, signal: AbortSignal | undefined): Promise<SandboxInfo> {
    return askJson(this.#connection, { method: 'POST', path: `${pathOf(this.id)}/${verb}`, json, repeatable: false, signal });
  }
}

const pathOf = (sandbox: string): string => `${SANDBOXES}/${encodeURIComponent(sandbox)}`;

function made<T = SandboxInfo>(connection: Connection, path: string, json: unknown, key: string | undefined, signal: AbortSignal | undefined): Promise<T> {
  return askJson(connection, { method: 'POST', path, json, headers: { 'idempotency-key': key ?? newKey() }, repeatable: true, signal });
}

function overAlready(error: unknown): void {
  if (error instanceof CaissonError && error.code === 'SANDBOX_NOT_FOUND') return;
  throw error;
}

import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { CaissonError, problemOf } from '@caisson/contract';
import { answer, Channel, type Verbs } from '@caisson/wire';
import type { Exec } from './driver.ts';
import type { Keeper } from './keeper.ts';
import { KEEPER_VERBS, StreamRequest, type KeeperParameters, type KeeperVerb, type StreamReply } from './keeper-messages.ts';
import type { Kept } from './kept.ts';
import { parseMessage } from './messages.ts';

/** What else the launcher serves on the keeper's socket. */
export interface KeeperExtras {
  /** Verbs of other rooms, such as workspaces; their parameters are theirs to check. */
  readonly verbs: Verbs;
  /** Has the connection carried on by a helper that serves the files of the sandbox's workspace; `take` says so and gives the socket up. */
  files(kept: Kept, take: () => Socket): Promise<void>;
}

/**
 * Serves one connection of control: numbered calls, any number of them, or one stream of bytes. Nothing ends with it but
 * what it carries: sandboxes and execs go on.
 */
export function serveKeeper(socket: Socket, keeper: Keeper, extras: KeeperExtras): void {
  const verbs = { ...extras.verbs, ...keeperVerbs(keeper) };
  const over = new AbortController();
  let carried: Exec | undefined;
  const channel: Channel = new Channel(socket, {
    onMessage: (message) => {
      const work = typeof message === 'object' && message !== null && 'stream' in message ? carry(message) : answer(verbs, message, channel);
      work.catch((error: unknown) => {
        say({ reply: 'problem', problem: problemOf(error) });
        channel.end();
      });
    },
    onBytes: (_kind, _stream, bytes) => (bytes.length === 0 ? carried?.endStdin() : carried?.writeStdin(bytes)),
    onClose: () => {
      over.abort();
      carried?.kill();
    },
  });
  const say = (reply: StreamReply): void => channel.send(reply);

  async function carry(message: unknown): Promise<void> {
    const request = parseMessage(StreamRequest, message);
    const kept = keeper.get(request.id);
    switch (request.stream) {
      case 'follow': return follow(kept, request.exec, request.from);
      case 'recording': return recording(kept, request.exec);
      case 'dial': return dial(kept, request.port);
      case 'files': return extras.files(kept, () => {
        say({ reply: 'ready' });
        return channel.release();
      });
    }
  }

  async function follow(kept: Kept, exec: string, from: number): Promise<void> {
    const chunks = kept.read(exec, from, over.signal);
    if (chunks === undefined) throw new CaissonError('OUTPUT_GONE', { exec });
    for await (const { stream, bytes } of chunks) await channel.sendBytes(stream, 0, bytes);
    say({ reply: 'end' });
    channel.end();
  }

  async function recording(kept: Kept, exec: string): Promise<void> {
    const chunks = kept.recording(exec);
    if (chunks === undefined) throw new CaissonError('OUTPUT_GONE', { exec });
    for await (const bytes of chunks) await channel.sendBytes('stdout', 0, bytes);
    say({ reply: 'end' });
    channel.end();
  }

  async function dial(kept: Kept, port: number): Promise<void> {
    if (carried !== undefined) throw new CaissonError('FRAME_INVALID', { detail: 'a second stream on one connection' });
    const exec = kept.dial(port, {
      onStarted: () => say({ reply: 'ready' }),
      onOutput: (_stream, bytes) => channel.sendBytes('stdout', 0, bytes),
      onOutputEnd: () => say({ reply: 'end' }), // the other half may go on
    });
    carried = exec;
    const { end } = await exec.done;
    if (end.kind === 'not-started') throw new CaissonError('PORT_REFUSED', { port, detail: getSystemErrorName(-end.errno) });
    if (end.kind !== 'exited') throw new CaissonError('SANDBOX_LOST', { detail: 'the connection into the sandbox broke' });
    channel.end();
  }
}

type Handlers = { readonly [V in KeeperVerb]: (parameters: KeeperParameters<V>) => Promise<unknown> };

function keeperVerbs(keeper: Keeper): Verbs {
  const execOf = ({ id, exec }: { readonly id: string; readonly exec: string }): Omit<Exec, 'done'> => {
    const found = keeper.get(id).exec(exec);
    if (found === undefined) throw new CaissonError('EXEC_NOT_FOUND', { sandbox: id, exec });
    return found;
  };
  const handlers: Handlers = {
    expect: async () => keeper.expect(),
    launch: ({ spec, memo, checkpoint }) => keeper.launch(spec, memo, checkpoint),
    checkpoint: ({ id, snapshot }) => keeper.checkpoint(id, snapshot),
    checkpoints: () => keeper.checkpoints(),
    settledCheckpoints: () => keeper.settledCheckpoints(),
    removeCheckpoint: ({ snapshot }) => keeper.removeCheckpoint(snapshot),
    rename: async ({ id, exec, as, memo }) => keeper.get(id).rename(exec, as, memo),
    list: () => keeper.settledList(),
    kept: async ({ id }) => keeper.get(id).head(),
    keptExecs: async ({ id, execs }) => keeper.get(id).execs(execs),
    note: async ({ id, memo }) => keeper.get(id).note(memo),
    pause: ({ id }) => keeper.get(id).pause(),
    resume: ({ id }) => keeper.get(id).resume(),
    usage: ({ id }) => keeper.get(id).usage(),
    renewSecret: async ({ id, lease }) => (await keeper.started(id)).renewSecret(lease),
    dropSecret: async ({ id, lease }) => (await keeper.started(id)).dropSecret(lease),
    close: ({ id, why }) => keeper.close(id, why),
    ended: ({ id }) => keeper.ended(id),
    start: ({ id, exec, memo, process, holdMs }) => {
      const kept = keeper.get(id);
      kept.start(exec, memo, process);
      return kept.endedWithin(exec, holdMs);
    },
    wait: async ({ id, exec }) => {
      const report = keeper.get(id).ended(exec);
      if (report === undefined) throw new CaissonError('EXEC_NOT_FOUND', { sandbox: id, exec });
      return report;
    },
    stdin: async ({ id, exec, offset, base64 }) => {
      const taken = await keeper.get(id).stdin(exec, offset, Buffer.from(base64, 'base64'));
      if (taken < 0) throw new CaissonError('REQUEST_INVALID', { detail: `offset: bytes before ${offset ?? 0} have not been sent` });
      return taken;
    },
    endStdin: (parameters) => execOf(parameters).endStdin(),
    signal: async (parameters) => execOf(parameters).signal(parameters.signal),
    kill: async (parameters) => execOf(parameters).kill(),
    resize: async ({ id, exec, size }) => {
      if (!keeper.get(id).resize(exec, size)) throw new CaissonError('EXEC_NOT_FOUND', { sandbox: id, exec });
    },
  };
  return Object.fromEntries(Object.entries(KEEPER_VERBS).map(([verb, schema]) => [verb, checked(schema, handlers[verb as KeeperVerb])]));
}

function checked(schema: (typeof KEEPER_VERBS)[KeeperVerb], handle: Handlers[KeeperVerb]): Verbs[string] {
  return async (parameters) => (handle as (parsed: unknown) => Promise<unknown>)(parseMessage<unknown>(schema, parameters));
}

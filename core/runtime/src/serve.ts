import type { Socket } from 'node:net';
import { CaissonError, problemOf, type IsolationSpec } from '@caisson/contract';
import { Channel } from '@caisson/wire';
import type { Exec, Machine, OutputStream } from './driver.ts';
import { launchOn, type LauncherRoom } from './launch.ts';
import { parseMessage, ToLauncher, type FromLauncher } from './messages.ts';

interface Outstanding {
  readonly bytes: number;
  taken(): void;
}

/**
 * Serves one connection of control. It holds at most one sandbox, and the sandbox lives no longer than the connection:
 * when control goes away, whatever the reason, the sandbox is closed. Resolves when the connection is over and so is
 * all that it set going, a launch that was under way included.
 */
export async function serveLauncher(socket: Socket, room: LauncherRoom): Promise<void> {
  const execs = new Map<number, { readonly exec: Exec; readonly outstanding: Outstanding[] }>();
  const gone = new AbortController();
  const underWay = new Set<Promise<unknown>>();
  const over = Promise.withResolvers<void>();
  let machine: Machine | undefined;
  let launching = false;

  const channel: Channel = new Channel(socket, {
    onMessage: (message) => track(receive(parseMessage(ToLauncher, message))),
    onBytes: (_kind, id, bytes) => void feed(id, bytes),
    onClose: () => {
      gone.abort(new CaissonError('CANCELLED', { detail: 'control went away' }));
      for (const { outstanding } of execs.values()) for (const { taken } of outstanding) taken();
      if (machine !== undefined) track(machine.close());
      over.resolve();
    },
  });
  const send = (message: FromLauncher): void => channel.send(message);

  function track(work: Promise<unknown>): void {
    underWay.add(work);
    void work.catch(() => undefined).finally(() => underWay.delete(work));
  }

  await over.promise;
  while (underWay.size > 0) await Promise.allSettled(underWay);

  async function receive(message: ToLauncher): Promise<void> {
    try {
      await perform(message);
    } catch (error) {
      send({ type: 'problem', problem: problemOf(error) });
    }
  }

  async function perform(message: ToLauncher): Promise<void> {
    switch (message.type) {
      case 'facts': return send({ type: 'facts', facts: await room.facts(message.again) });
      case 'expect': return room.expect();
      case 'launch': return launch(message.spec);
      case 'spawn': return spawn(message);
      case 'signal': return execs.get(message.exec)?.exec.signal(message.signal);
      case 'taken': return take(message.exec, message.bytes);
      case 'close': return close();
    }
  }

  async function launch(spec: IsolationSpec): Promise<void> {
    if (launching) throw new CaissonError('FRAME_INVALID', { detail: 'a second sandbox on one connection' });
    launching = true;
    const started = await launchOn(room, spec, { signal: gone.signal });
    machine = started;
    if (gone.signal.aborted) await started.close();
    send({ type: 'launched', runtime: started.runtime, user: started.user, address: started.address, hello: started.hello });
  }

  function spawn({ exec: id, process }: Extract<ToLauncher, { type: 'spawn' }>): void {
    if (machine === undefined || execs.has(id)) throw new CaissonError('FRAME_INVALID', { detail: 'a spawn out of place' });
    const outstanding: Outstanding[] = [];
    const exec = machine.spawn(process, {
      onOutput: (stream, bytes) => pass(id, stream, bytes, outstanding),
    });
    execs.set(id, { exec, outstanding });
    void exec.done.then((report) => {
      execs.delete(id);
      send({ type: 'report', exec: id, report });
    });
  }

  /** Resolves when control has handed the bytes on, which is what pid 1's window waits for. */
  function pass(id: number, stream: OutputStream, bytes: Buffer, outstanding: Outstanding[]): Promise<void> {
    void channel.sendBytes(stream, id, bytes);
    return new Promise((resolve) => (channel.closed ? resolve() : outstanding.push({ bytes: bytes.length, taken: resolve })));
  }

  function take(id: number, bytes: number): void {
    const outstanding = execs.get(id)?.outstanding ?? [];
    for (let left = bytes; left > 0; ) {
      const first = outstanding.shift();
      if (first === undefined) return;
      left -= first.bytes;
      first.taken();
    }
  }

  async function feed(id: number, bytes: Buffer): Promise<void> {
    const exec = execs.get(id)?.exec;
    if (exec === undefined) return;
    if (bytes.length === 0) return exec.endStdin();
    await exec.writeStdin(bytes);
    send({ type: 'stdin-taken', exec: id, bytes: bytes.length });
  }

  async function close(): Promise<void> {
    if (machine === undefined) throw new CaissonError('FRAME_INVALID', { detail: 'nothing to close' });
    send({ type: 'closed', usage: await machine.close() });
    channel.end();
  }
}

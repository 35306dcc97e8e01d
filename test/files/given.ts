import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FilesClient, filesHelper } from '@caisson/files';
import { HOME, IS_ROOT, NEEDS_ROOT } from '../harness.ts';

export const skip = IS_ROOT ? false : NEEDS_ROOT;
/** A uid that nothing else on a host has. */
export const AGENT = 2_000_123;
const BINARY = `${HOME}/build/native/caisson-files`;

export interface Helper extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly socket: Socket;
}

/** Starts the helper as the launcher does: on one end of a connection that was accepted from control. */
export async function startHelper(root: string, { uid = AGENT, binary = BINARY, env = {} }: { readonly uid?: number; readonly binary?: string; readonly env?: Record<string, string> } = {}): Promise<Helper> {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-files-socket-'));
  const server = createServer({ pauseOnConnect: true });
  server.listen(`${folder}/socket`);
  await once(server, 'listening');
  const socket = connect(`${folder}/socket`);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const [program = '', ...args] = filesHelper({ binary, root, uid, gid: uid }).argv;
  const child = spawn(program, args, { stdio: [accepted, 'ignore', 'inherit'], env: { ...env } });
  const ended = once(child, 'exit');
  accepted.destroy();
  server.close();
  rmSync(folder, { recursive: true, force: true });
  return {
    process: child,
    socket,
    async [Symbol.asyncDispose]() {
      socket.destroy();
      if (child.exitCode === null && child.signalCode === null) await ended;
    },
  };
}

export interface Place extends AsyncDisposable {
  /** Holds `workspace`, and what is outside it. */
  readonly dir: string;
  readonly workspace: string;
  readonly files: FilesClient;
  readonly helper: Helper;
}

/** A workspace of its own, owned by the agent, and a client of its helper. */
export async function startPlace({ within = tmpdir(), ...o }: { readonly within?: string; readonly binary?: string; readonly env?: Record<string, string> } = {}): Promise<Place> {
  const dir = mkdtempSync(join(within, 'caisson-files-'));
  const workspace = `${dir}/workspace`;
  mkdirSync(workspace);
  chownSync(workspace, AGENT, AGENT);
  const helper = await startHelper(workspace, o);
  const files = new FilesClient(helper.socket);
  return {
    dir,
    workspace,
    files,
    helper,
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await helper[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export async function contentOf(files: FilesClient, path: string | Buffer, o: { readonly offset?: number; readonly length?: number } = {}): Promise<Buffer> {
  const { body } = await files.read(path, o);
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

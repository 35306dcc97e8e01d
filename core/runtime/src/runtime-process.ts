import { spawn, type ChildProcess } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** The program of a runtime under way, and the near ends of the lanes that it gives to pid 1. */
export interface RuntimeProcess {
  readonly runtime: ChildProcess;
  readonly control: Duplex;
  readonly data: Duplex;
}

export interface RuntimeStart {
  readonly path: string;
  readonly argv: readonly string[];
  readonly lanes: 'passed' | 'stdio';
  /** A folder that is root's alone, for the moment in which sockets have names. */
  readonly folder: string;
}

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** Its stdio are pipes or sockets, never /dev/null: runtimes change the owner of what they are given, and /dev/null is the host's. */
export async function startRuntime({ path, argv, lanes, folder }: RuntimeStart): Promise<RuntimeProcess> {
  if (lanes === 'passed') {
    const runtime = spawn(path, argv, { stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'], env: ENVIRONMENT });
    return { runtime, control: runtime.stdio[3] as Duplex, data: runtime.stdio[4] as unknown as Duplex };
  }
  const [control, data] = await Promise.all([socketPair(`${folder}/control`), socketPair(`${folder}/data`)]);
  try {
    const runtime = spawn(path, argv, { stdio: [control.far, data.far, 'pipe'], env: ENVIRONMENT });
    return { runtime, control: control.near, data: data.near };
  } catch (error) {
    control.near.destroy();
    data.near.destroy();
    throw error;
  } finally {
    control.far.destroy();
    data.far.destroy();
  }
}

/** Two connected sockets. What node makes itself for a child's stdin carries bytes one way only. */
async function socketPair(path: string): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = createServer({ pauseOnConnect: true });
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const near = connect(path);
    const failed = new Promise<never>((_, reject) => near.once('error', reject));
    return { near, far: await Promise.race([accepted, failed]) };
  } finally {
    server.close();
  }
}

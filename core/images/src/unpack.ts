import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CaissonError } from '@caisson/contract';
import { toolAt, type Identity } from './run-tool.ts';
import { FromUnpacker, type Unpacked, type UnpackJob } from './unpack-job.ts';

const PROGRAM = fileURLToPath(new URL('./unpacker.ts', import.meta.url));
/** A hostile image may make the process need memory; this ends it instead of the host's. */
const HEAP_MIB = 2_048;

export interface UnpackOptions {
  /** Folder that belongs to the process. */
  readonly folder: string;
  readonly as?: Identity | undefined;
  /** The open archive, for a job that reads one. */
  readonly archiveFd?: number | undefined;
  readonly signal: AbortSignal;
  onProgress(line: string): void;
}

/** Unpacks an image in a process of its own. @throws CaissonError IMAGE_INVALID, IMAGE_TOO_LARGE, IMAGE_UNAVAILABLE */
export async function unpack(job: UnpackJob, { folder, as, archiveFd, signal, onProgress }: UnpackOptions): Promise<Unpacked> {
  signal.throwIfAborted();
  const [program, ...args] = argvFor(as);
  const child = spawn(program, args, {
    cwd: folder,
    env: { LANG: 'C.UTF-8' },
    stdio: ['pipe', 'pipe', 'ignore', archiveFd ?? 'ignore'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  child.stdin?.on('error', () => undefined);
  child.stdin?.write(`${JSON.stringify(job)}\n`); // left open: its end is the end of the process
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject).once('close', (code, by) => resolve(by ?? `${code}`));
  });
  let last: FromUnpacker | null = null;
  try {
    for await (const word of wordsOf(child)) {
      last = word;
      if (last !== null && 'progress' in last) onProgress(last.progress);
    }
    const how = await ended;
    signal.throwIfAborted();
    if (last !== null && 'done' in last) return last.done;
    if (last !== null && 'problem' in last) throw CaissonError.from(last.problem);
    throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `the process that unpacks ended with ${how}` });
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    await ended.catch(() => undefined);
  }
}

/** Under root: another user, no network, and a process namespace with which all that it started ends. */
function argvFor(as: Identity | undefined): [string, ...string[]] {
  const node: [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning', `--max-old-space-size=${HEAP_MIB}`, PROGRAM];
  if (as === undefined) return node;
  return [
    toolAt('unshare', 'util-linux'), '--pid', '--net', '--ipc', '--fork', '--kill-child=SIGKILL',
    toolAt('setpriv', 'util-linux'), '--reuid', `${as.uid}`, '--regid', `${as.gid}`, '--clear-groups', '--no-new-privs', '--pdeathsig', 'KILL',
    ...node,
  ];
}

async function* wordsOf({ stdout }: ChildProcess): AsyncGenerator<FromUnpacker | null, void, undefined> {
  if (stdout === null) return;
  for await (const line of createInterface({ input: stdout })) yield wordOf(line);
}

function wordOf(line: string): FromUnpacker | null {
  try {
    return FromUnpacker.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

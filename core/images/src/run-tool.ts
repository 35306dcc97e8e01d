import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { CaissonError } from '@caisson/contract';

/** Who a process runs as. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

export interface ToolOptions {
  /** Program and arguments. */
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  /** Default: who the caller is. */
  readonly as?: Identity | undefined;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Most bytes of stdout that are kept; a tool that says more is ended. */
  readonly stdoutBytes: number;
  /** Called for every line that the tool says on stderr. */
  onLine(line: string): void;
}

const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const STDERR_LINE_MAX = 500;
/** Lines of a tool that failed which make its error: its first complaints, or else its last words. */
const WORDS = 3;
const COMPLAINT = /^E:|\b(error|fatal|failed)\b/i;

/** Where a program of Debian's lies. @throws CaissonError IMAGE_TOOL_MISSING */
export function toolAt(name: string, packageName = name): string {
  for (const folder of FOLDERS) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      continue;
    }
  }
  throw new CaissonError('IMAGE_TOOL_MISSING', { tool: name, package: packageName });
}

/**
 * Runs a program to its end and returns what it wrote on stdout. It is killed when `signal` is aborted.
 * @throws CaissonError IMAGE_UNAVAILABLE in the tool's own words
 */
export async function runTool({ argv: [program, ...args], cwd, as, env = {}, signal, stdoutBytes, onLine }: ToolOptions): Promise<Buffer> {
  signal.throwIfAborted();
  const child = spawn(program, args, {
    cwd,
    env: { PATH: FOLDERS.join(':'), LANG: 'C.UTF-8', HOME: cwd, TMPDIR: cwd, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...as,
  });
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  const said: Buffer[] = [];
  const last: string[] = [];
  const complaints: string[] = [];
  let bytes = 0;
  let rest = '';
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > stdoutBytes) kill();
    else said.push(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk.toString('utf8')}`.split(/[\r\n]+/);
    rest = (lines.pop() ?? '').slice(0, STDERR_LINE_MAX);
    for (const line of lines.filter((each) => each.trim() !== '')) {
      const text = line.slice(0, STDERR_LINE_MAX);
      last.push(text);
      if (last.length > WORDS) last.shift();
      if (complaints.length < WORDS && COMPLAINT.test(text)) complaints.push(text);
      onLine(text);
    }
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
    signal.throwIfAborted();
    if (code === 0 && bytes <= stdoutBytes) return Buffer.concat(said);
    const words = (complaints.length > 0 ? complaints : [...last, rest]).filter((line) => line !== '').join('; ');
    throw new CaissonError('IMAGE_UNAVAILABLE', { detail: `${program} ended with ${code}: ${words}` });
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

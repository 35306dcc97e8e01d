import { spawn, type ChildProcess } from 'node:child_process';
import xterm from '@xterm/headless';
import { setTimeout as delay } from 'node:timers/promises';
import { HOME } from '../harness.ts';

const { Terminal } = xterm;
type Terminal = InstanceType<typeof Terminal>;

/**
 * Opens a pty and runs a program on it as a person's shell would. Frames on its stdin, each a letter, a length and bytes: `i`
 * is typed, `r` is a new size as COLSxROWS, `s` is a signal to the program. On its stdout: what the program shows. On its
 * stderr: `stty -a` of the pty before, while the program ran (on `t`), and after; and the exit status.
 */
const PTY = `
import fcntl, os, pty, select, signal, struct, subprocess, sys, termios
def stty():
    return subprocess.run(['stty', '-a'], stdin=slave, capture_output=True, text=True).stdout.replace('\\n', ' ')
def size(cols, rows):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
def say(*words):
    os.write(2, (' '.join(map(str, words)) + '\\n').encode())
def take(count):
    found = b''
    while len(found) < count:
        part = os.read(0, count - len(found))
        if not part: return None
        found += part
    return found
master, slave = pty.openpty()
size(int(sys.argv[1]), int(sys.argv[2]))
say('before', stty())
def begin():
    os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
child = subprocess.Popen(sys.argv[3:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=begin)
reading = [master, 0]
while child.poll() is None or select.select([master], [], [], 0)[0]:
    ready = select.select(reading, [], [], 0.05)[0]
    if master in ready:
        os.write(1, os.read(master, 65536))
    if 0 in ready:
        head = take(5)
        if head is None:
            reading.remove(0); child.kill(); continue
        body = take(struct.unpack('>I', head[1:])[0])
        kind = head[:1]
        if kind == b'i': os.write(master, body)
        elif kind == b'r': size(*map(int, body.split(b'x')))
        elif kind == b's': child.send_signal(int(body))
        elif kind == b't': say('during', stty())
say('after', stty())
say('status', child.returncode)
`;

/** `caisson` on a terminal of its own, as a person sees and uses it. */
export class PersonsTerminal implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #terminal: Terminal;
  readonly #ended: Promise<unknown>;
  #said = '';

  constructor(env: NodeJS.ProcessEnv, args: readonly string[], { cols, rows }: { readonly cols: number; readonly rows: number }) {
    this.#terminal = new Terminal({ cols, rows, allowProposedApi: true });
    this.#child = spawn('python3', ['-c', PTY, String(cols), String(rows), process.execPath, `${HOME}/apps/cli/src/main.ts`, ...args], {
      env: { ...env, TERM: 'xterm-256color' }, stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#terminal.write(chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#child.stdin?.on('error', () => undefined);
    this.#terminal.onData((answer) => this.#send('i', answer));
    this.#ended = new Promise((done) => this.#child.once('close', done));
  }

  #send(kind: string, text: string): void {
    const body = Buffer.from(text);
    const head = Buffer.alloc(5);
    head.write(kind, 'latin1');
    head.writeUInt32BE(body.length, 1);
    this.#child.stdin?.write(Buffer.concat([head, body]));
  }

  type(keys: string): void {
    this.#send('i', keys);
  }

  resize(cols: number, rows: number): void {
    this.#terminal.resize(cols, rows);
    this.#send('r', `${cols}x${rows}`);
  }

  signal(number: number): void {
    this.#send('s', String(number));
  }

  lines(): string[] {
    const { active } = this.#terminal.buffer;
    return Array.from({ length: this.#terminal.rows }, (_, row) => active.getLine(active.viewportY + row)?.translateToString().trimEnd() ?? '');
  }

  async until(holds: (lines: readonly string[]) => boolean, what: string): Promise<readonly string[]> {
    for (const end = Date.now() + 30_000; ; await delay(20)) {
      const lines = this.lines();
      if (holds(lines)) return lines;
      if (Date.now() > end) throw new Error(`${what}: not on the screen\n${lines.join('\n')}\n${this.#said}`);
    }
  }

  /** The settings of the terminal while the program has it. */
  async settings(): Promise<string> {
    this.#send('t', '');
    for (const end = Date.now() + 30_000; Date.now() < end; await delay(20)) {
      const found = /^during (.*)$/m.exec(this.#said)?.[1];
      if (found !== undefined) return found;
    }
    throw new Error(`no settings: ${this.#said}`);
  }

  /** How it ended: negative for a signal. And the settings of the terminal before and after. */
  async end(): Promise<{ readonly status: number; readonly before: string; readonly after: string }> {
    await this.#ended;
    const one = (name: string): string => new RegExp(`^${name} (.*)$`, 'm').exec(this.#said)?.[1] ?? `no ${name}: ${this.#said}`;
    return { status: Number(one('status')), before: one('before'), after: one('after') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
    this.#terminal.dispose();
  }
}

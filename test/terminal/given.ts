import xterm from '@xterm/headless';
import type { Exec, Machine } from '@caisson/runtime';
import { setTimeout as delay } from 'node:timers/promises';

const { Terminal } = xterm;
type Terminal = InstanceType<typeof Terminal>;

export interface Size {
  readonly cols: number;
  readonly rows: number;
}

/** A command in a sandbox behind a terminal emulator, as a person sees it. */
export class Screen {
  readonly exec: Exec;
  readonly #terminal: Terminal;

  constructor(machine: Pick<Machine, 'spawn'>, argv: readonly string[], size: Size, env: readonly string[] = []) {
    this.#terminal = new Terminal({ ...size, allowProposedApi: true });
    this.exec = machine.spawn({
      argv, env: ['PATH=/usr/bin:/bin', 'HOME=/tmp', 'TERM=xterm-256color', 'LC_ALL=C.UTF-8', ...env], cwd: '/tmp', stdin: false, outputBytes: 2 ** 24, tty: size,
    }, { onOutput: (_stream, bytes) => new Promise((done) => this.#terminal.write(bytes, done)) });
    // What a program asks of a terminal (its attributes, where the cursor is) is answered as a real one would.
    this.#terminal.onData((answer) => void this.exec.writeStdin(Buffer.from(answer)));
  }

  type(keys: string): Promise<void> {
    return this.exec.writeStdin(Buffer.from(keys));
  }

  resize({ cols, rows }: Size): void {
    this.#terminal.resize(cols, rows);
    this.exec.resize(cols, rows);
  }

  /** The lines now to be seen, without the blanks at their ends. */
  lines(): string[] {
    const { active } = this.#terminal.buffer;
    return Array.from({ length: this.#terminal.rows }, (_, row) => active.getLine(active.viewportY + row)?.translateToString().trimEnd() ?? '');
  }

  get cursor(): { readonly col: number; readonly row: number } {
    const { cursorX: col, cursorY: row } = this.#terminal.buffer.active;
    return { col, row };
  }

  async until(holds: (lines: readonly string[]) => boolean, what: string, waitMs = 10_000): Promise<readonly string[]> {
    for (const end = Date.now() + waitMs; ; await delay(20)) {
      const lines = this.lines();
      if (holds(lines)) return lines;
      if (Date.now() > end) throw new Error(`${what}: not within ${waitMs} ms on the screen\n${lines.join('\n')}`);
    }
  }
}

import { spawn, type ChildProcess } from 'node:child_process';
import { renameSync, statSync, writeFileSync } from 'node:fs';
import type { GatePlace } from '@caisson/runtime';
import { log } from './lifetime.ts';

/** Longest that the namespace takes to be there. */
const READY_MS = 10_000;
const MESSAGE_BYTES = 4_096;

/**
 * Holds the network namespace of the gate, by a process that does nothing else: the gate can die and come back while the
 * links of sandboxes stay. Where the host has no means for it, sandboxes have no network, and everything else works.
 */
export class GateNamespace implements Disposable {
  readonly #tool: string;
  readonly #rules: string;
  readonly #file: string;
  #child: ChildProcess | undefined;

  constructor({ tool, rules, file }: { readonly tool: string; readonly rules: string; readonly file: string }) {
    this.#tool = tool;
    this.#rules = rules;
    this.#file = file;
  }

  /** Makes it, and says in the file where it is. @param onLost told when it has gone and nobody asked */
  async open(onLost: () => void): Promise<GatePlace> {
    const child = spawn(this.#tool, ['hold', this.#rules], { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
    this.#child = child;
    const problem = await ready(child);
    if (problem !== null) return this.giveUp(`its namespace cannot be made: ${problem}`);
    child.once('exit', () => this.#child === child && onLost());
    const netns = `/proc/${child.pid}/ns/net`;
    return this.#tell({ netns, inode: statSync(netns).ino });
  }

  /** Ends it, and says why sandboxes have no network. */
  giveUp(problem: string): GatePlace {
    this[Symbol.dispose]();
    return this.#tell({ problem });
  }

  #tell(place: GatePlace): GatePlace {
    writeFileSync(`${this.#file}.new`, JSON.stringify(place), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
    log('gate namespace', place);
    return place;
  }

  [Symbol.dispose](): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
  }
}

/** Null when it is there, or what it said that failed. */
function ready(child: ChildProcess): Promise<string | null> {
  return new Promise((resolve) => {
    let said = '';
    const timer = setTimeout(() => resolve(`not within ${READY_MS} ms`), READY_MS);
    const settle = (problem: string | null): void => {
      clearTimeout(timer);
      resolve(problem);
    };
    child.stderr?.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(0, MESSAGE_BYTES)));
    child.stdout?.once('data', () => settle(null));
    child.stdin?.on('error', () => undefined);
    child.once('error', (error) => settle(error.message));
    child.once('close', (code) => settle(said.trim() || `it ended with ${code}`));
  });
}

import { createHash, type Hash } from 'node:crypto';
import type { OutputCount } from '@caisson/contract';
import type { ExecReport, OutputStream } from '@caisson/runtime';
import type { Client } from './rooms.ts';

/** What was handed to the stdin of a command. */
export interface InputCount {
  /** Bytes. */
  readonly taken: number;
  readonly sha256: string;
}

interface Tally {
  readonly hash: Hash;
  returned: number;
}

/** Counts and digests what is handed to the client, per stream, and what it handed in. */
export class Output {
  readonly #client: Client;
  readonly #tallies: Readonly<Record<OutputStream, Tally>> = {
    stdout: { hash: createHash('sha256'), returned: 0 },
    stderr: { hash: createHash('sha256'), returned: 0 },
  };

  readonly #input = { hash: createHash('sha256'), taken: 0 };

  constructor(client: Client) {
    this.#client = client;
  }

  async write(stream: OutputStream, bytes: Buffer): Promise<void> {
    const tally = this.#tallies[stream];
    tally.hash.update(bytes);
    tally.returned += bytes.length;
    await this.#client.write(stream, bytes);
  }

  /** Counts what goes to the command's stdin. */
  take(bytes: Buffer): void {
    this.#input.hash.update(bytes);
    this.#input.taken += bytes.length;
  }

  input(): InputCount {
    return { taken: this.#input.taken, sha256: this.#input.hash.copy().digest('hex') };
  }

  /** What was handed on, of what the report says was written. */
  counts(written: ExecReport['written']): Readonly<Record<OutputStream, OutputCount>> {
    const count = (stream: OutputStream): OutputCount => {
      const { hash, returned } = this.#tallies[stream];
      // A lost sandbox reports no total; what arrived is then all that is known.
      const total = Math.max(written[stream], returned);
      return { written: total, returned, truncated: total > returned, sha256: hash.copy().digest('hex') };
    };
    return { stdout: count('stdout'), stderr: count('stderr') };
  }
}

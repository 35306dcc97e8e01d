import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { CaissonError, type EntryDraft, type EvidenceLog, type HostFacts, type Receipt, type RunRequest, type RunResult } from '@caisson/contract';
import { FakeDriver, type FakeScript, type Machine } from '@caisson/runtime';
import { open, type Client, type Rooms } from '@caisson/sandbox';
import { goodHost, shippedPolicy, shippedSeccomp } from '../isolation/given.ts';
import { NotedGate, NotedVault } from './noted.ts';

/** What happened in the other rooms, in order: `append intent`, `launch`, `spawn`, `close`, `append outcome`. */
export type Steps = string[];

/** An evidence log in memory that can refuse a kind of entry. */
export class MemoryLog implements EvidenceLog {
  readonly entries: EntryDraft[] = [];
  readonly #steps: Steps;
  readonly #refuse: EntryDraft['kind'] | undefined;

  constructor(steps: Steps = [], refuse?: EntryDraft['kind']) {
    this.#steps = steps;
    this.#refuse = refuse;
  }

  async append(draft: EntryDraft): Promise<Receipt> {
    this.#steps.push(`append ${draft.kind}`);
    if (draft.kind === this.#refuse) throw new CaissonError('EVIDENCE_UNAVAILABLE', { detail: 'the disk is full' });
    this.entries.push(draft);
    return { index: this.entries.length - 1, hash: 'f'.repeat(64) };
  }

  async openIntents(): Promise<readonly string[]> {
    const closed = new Set(this.entries.filter(({ kind }) => kind === 'outcome').map(({ subject }) => subject));
    return this.entries.filter(({ kind, subject }) => kind === 'intent' && !closed.has(subject)).map(({ subject }) => subject);
  }

  async head(): Promise<Receipt | null> {
    return null;
  }

  /** The body of the one entry of this kind. */
  only(kind: EntryDraft['kind']): Record<string, unknown> {
    const found = this.entries.filter((entry) => entry.kind === kind);
    assert.equal(found.length, 1, `${kind} entries`);
    return found[0]?.body as Record<string, unknown>;
  }
}

export interface Options {
  readonly script?: FakeScript;
  readonly refuse?: EntryDraft['kind'];
  readonly client?: Partial<Client>;
  readonly rooms?: Partial<Rooms>;
}

export interface Opened {
  readonly result: RunResult;
  readonly steps: Steps;
  readonly log: MemoryLog;
  readonly driver: FakeDriver;
  /** Outcomes that the log did not take. */
  readonly doubts: readonly EntryDraft[];
  readonly stdout: string;
}

/** A host whose only runtime is the scripted one. */
export function fakeHost(driver: FakeDriver): HostFacts {
  return { ...goodHost, runtimes: [driver.facts] };
}

/** One call against a scripted sandbox and a log in memory. */
export async function openFake(request: RunRequest, { script = {}, refuse, client = {}, rooms = {} }: Options = {}): Promise<Opened> {
  const steps: Steps = [];
  const log = new MemoryLog(steps, refuse);
  const driver = new FakeDriver(script);
  const doubts: EntryDraft[] = [];
  const chunks: Buffer[] = [];
  const result = await open(
    request,
    {
      name: 'test',
      signal: new AbortController().signal,
      stdin: chunksOf(),
      write: async (stream, bytes) => void (stream === 'stdout' && chunks.push(bytes)),
      ...client,
    },
    {
      policy: { value: shippedPolicy, sha256: 'a'.repeat(64) },
      seccomp: shippedSeccomp,
      evidence: log,
      doubts: { add: (outcome) => void doubts.push(outcome), addNotBegun: (outcome) => void doubts.push(outcome) },
      gate: new NotedGate(), vault: new NotedVault(), wallMs: Date.now,
      host: async () => fakeHost(driver),
      launch: async (spec, options) => {
        steps.push('launch');
        return noting(steps, await driver.launch(spec, options));
      },
      now: () => performance.now(),
      randomBytes,
      ...rooms,
    },
  );
  return { result, steps, log, driver, doubts, stdout: Buffer.concat(chunks).toString('utf8') };
}

function noting(steps: Steps, machine: Machine): Machine {
  let closed = false;
  return {
    runtime: machine.runtime,
    user: machine.user,
    address: machine.address,
    hello: machine.hello,
    spawn: (command, events) => {
      steps.push('spawn');
      return machine.spawn(command, events);
    },
    close: () => {
      if (!closed) steps.push('close');
      closed = true;
      return machine.close();
    },
  };
}

export async function* chunksOf(...texts: readonly string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

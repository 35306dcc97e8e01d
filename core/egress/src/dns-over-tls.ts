import { randomInt } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { readServerAnswer, writeQuestion, type Question } from './dns-answer.ts';
import { writeFramed } from './dns.ts';
import { IDLE_MS, type DnsLine, type Heard } from './dns-line.ts';

const IDS = 65_536;
const HEADER_BYTES = 12;
/** Questions that the server has left unanswered and nobody waits for, at which another connection is taken. */
const UNANSWERED_MOST = 256;

/** A question under way; one that nobody waits for any more keeps its id until it is answered. */
interface Waiting {
  readonly question: Question;
  settle: (heard: Heard) => void;
}

/**
 * DNS over TLS (RFC 7858): messages with their length in front, many under way at once, answered in any order (§3.3). A server
 * that says what nobody asked, or whose messages have an impossible length, is not listened to any further.
 */
export class DnsOverTls implements DnsLine {
  readonly #socket: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  #idle: NodeJS.Timeout;
  #answers = 0;
  #asked = 0;
  #retired = false;
  #length: number | null = null;
  #begun = Buffer.alloc(2);
  #filled = 0;

  /** @param socket a TLS connection whose server has proved who it is */
  constructor(socket: Duplex) {
    this.#socket = socket;
    this.#idle = setTimeout(() => this.#end('it was idle'), IDLE_MS);
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? 'the connection broke'));
    socket.once('end', () => this.#end('the server ended the connection'));
    socket.once('close', () => this.#end('the connection ended'));
  }

  get asked(): number {
    return this.#asked;
  }

  get isOpen(): boolean {
    return !this.#retired && !this.#socket.destroyed;
  }

  ask(question: Question, timeoutMs: number): Promise<Heard> {
    if (!this.isOpen) return Promise.resolve({ silent: 'the connection ended' });
    const id = this.#freeId();
    const before = this.#answers;
    this.#idle.refresh();
    this.#asked += 1;
    return new Promise((resolve) => {
      const waiting: Waiting = {
        question,
        settle: (heard) => {
          clearTimeout(timer);
          this.#asked -= 1;
          resolve(heard);
        },
      };
      const timer = setTimeout(() => {
        waiting.settle({ silent: `no answer within ${timeoutMs} ms` });
        waiting.settle = () => undefined;
        // It may be dead, or its ids run out: what is asked next goes over another.
        if (this.#answers === before || this.#waiting.size - this.#asked >= UNANSWERED_MOST) this.#retired = true;
        this.#endIfOver();
      }, timeoutMs);
      this.#waiting.set(id, waiting);
      this.#socket.write(writeFramed(writeQuestion(id, question)));
    });
  }

  #endIfOver(): void {
    if (this.#retired && this.#asked === 0) this.#end('it was replaced');
  }

  #freeId(): number {
    let id = randomInt(IDS);
    while (this.#waiting.has(id)) id = (id + 1) % IDS;
    return id;
  }

  #take(piece: Buffer): void {
    for (let rest = piece; rest.length > 0 && !this.#socket.destroyed;) {
      const count = rest.copy(this.#begun, this.#filled);
      this.#filled += count;
      rest = rest.subarray(count);
      if (this.#filled === this.#begun.length) this.#whole(this.#begun);
    }
  }

  #whole(bytes: Buffer): void {
    this.#filled = 0;
    if (this.#length === null) {
      this.#length = bytes.readUInt16BE(0);
      if (this.#length < HEADER_BYTES) return this.#end(`a message of ${this.#length} bytes`);
      this.#begun = Buffer.alloc(this.#length);
      return;
    }
    this.#length = null;
    this.#begun = Buffer.alloc(2);
    const id = bytes.readUInt16BE(0);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return this.#end('the server answered what was not asked');
    this.#waiting.delete(id);
    this.#answers += 1;
    this.#idle.refresh();
    waiting.settle({ answer: readServerAnswer(bytes, id, waiting.question) });
    this.#endIfOver();
  }

  #end(silent: string): void {
    clearTimeout(this.#idle);
    this.#retired = true;
    this.#socket.destroy();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { settle } of waiting) settle({ silent });
  }

  close(): void {
    this.#end('the gate is closed');
  }
}

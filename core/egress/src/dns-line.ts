import type { Question, ServerAnswer } from './dns-answer.ts';

/** Questions that one connection to a DNS server carries at once: as many streams as servers of HTTP/2 commonly take. */
export const ASKED_MOST = 90;
/** How long a connection is kept on which nothing is asked and nothing comes. */
export const IDLE_MS = 10_000;
/** Longest message (RFC 1035 §4.2.2: its length in two bytes). */
export const MESSAGE_BYTES_MAX = 65_535;

/** What came of a question: an answer, or why there was none, which another connection or server might change. */
export type Heard = { readonly answer: ServerAnswer } | { readonly silent: string };

/** A connection to a DNS server that has proved who it is. */
export interface DnsLine {
  /** Questions that somebody waits for. */
  readonly asked: number;
  /** Whether it takes questions. */
  readonly isOpen: boolean;
  /** Resolves when there is an answer, when the connection has ended, or after that time. */
  ask(question: Question, timeoutMs: number): Promise<Heard>;
  close(): void;
}

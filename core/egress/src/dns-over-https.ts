import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2';
import type { Duplex } from 'node:stream';
import { readServerAnswer, writeQuestion, type Question, type ServerAnswer } from './dns-answer.ts';
import { IDLE_MS, MESSAGE_BYTES_MAX, type DnsLine, type Heard } from './dns-line.ts';

const SESSION = { maxSessionMemory: 4, maxHeaderListPairs: 64, maxOutstandingPings: 2, settings: { enablePush: false, maxHeaderListSize: 16_384 } } as const;
const MEDIA_TYPE = 'application/dns-message';
/** Zero, for caches on the way (RFC 8484 §4.1): which question an answer is to, its stream says. */
const ID = 0;

/** DNS over HTTPS (RFC 8484) by POST and HTTP/2. Only status 200 with a message of DNS is an answer; no redirect is followed. */
export class DnsOverHttps implements DnsLine {
  readonly #session: ClientHttp2Session;
  readonly #path: string;
  readonly #authority: string;
  #idle: NodeJS.Timeout;
  #answers = 0;
  #retired = false;
  #asked = 0;

  /** @param socket a TLS connection whose server has proved who it is, and speaks HTTP/2 */
  constructor(socket: Duplex, { authority, path }: { readonly authority: string; readonly path: string }) {
    this.#authority = authority;
    this.#path = path;
    this.#session = connect(`https://${authority}`, { ...SESSION, createConnection: () => socket });
    this.#idle = setTimeout(() => this.close(), IDLE_MS);
    this.#session.on('error', () => this.close());
    this.#session.once('goaway', () => (this.#retired = true));
    this.#session.once('close', () => this.close());
  }

  get asked(): number {
    return this.#asked;
  }

  get isOpen(): boolean {
    return !this.#retired && !this.#session.closed && !this.#session.destroyed;
  }

  ask(question: Question, timeoutMs: number): Promise<Heard> {
    if (!this.isOpen) return Promise.resolve({ silent: 'the connection ended' });
    const before = this.#answers;
    const body = writeQuestion(ID, question);
    const stream = this.#request(body.length);
    if (stream === null) return Promise.resolve({ silent: 'the connection takes no more questions' });
    this.#idle.refresh();
    this.#asked += 1;
    return new Promise((resolve) => {
      let isOver = false;
      const settle = (heard: Heard): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        this.#asked -= 1;
        resolve(heard);
        if (!stream.readableEnded) stream.close(constants.NGHTTP2_CANCEL);
      };
      const timer = setTimeout(() => {
        if (this.#answers === before) this.#retired = true; // it may be dead: what is asked next goes over another
        settle({ silent: `no answer within ${timeoutMs} ms` });
      }, timeoutMs);
      stream.on('error', (error: NodeJS.ErrnoException) => settle({ silent: error.code ?? 'the connection broke' }));
      stream.once('close', () => settle({ silent: 'the server ended the connection' }));
      stream.once('response', (headers) => {
        void bodyOf(stream, headers).then((read) => {
          if (isOver) return;
          this.#answers += 1;
          this.#idle.refresh();
          settle({ answer: 'refused' in read ? read : aged(readServerAnswer(read.bytes, ID, question), headers) });
        });
      });
      stream.end(body);
    });
  }

  /** Null: the session is over, or has no streams left. Either is noticed when one is asked for. */
  #request(bodyBytes: number): ClientHttp2Stream | null {
    try {
      return this.#session.request({
        ':method': 'POST', ':scheme': 'https', ':authority': this.#authority, ':path': this.#path,
        'content-type': MEDIA_TYPE, accept: MEDIA_TYPE, 'content-length': bodyBytes,
      });
    } catch {
      this.#retired = true;
      return null;
    }
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#retired = true;
    this.#session.destroy();
  }
}

/** The message that an answer carries; what is no answer of DNS, or longer than one can be, is not read to its end. */
async function bodyOf(stream: ClientHttp2Stream, headers: IncomingHttpHeaders & IncomingHttpStatusHeader): Promise<{ readonly bytes: Buffer } | { readonly refused: string }> {
  if (headers[':status'] !== 200) return { refused: `the server answered with status ${headers[':status'] ?? 'none'}` };
  if (headers['content-type']?.split(';')[0]?.trim().toLowerCase() !== MEDIA_TYPE) return { refused: `the answer is not ${MEDIA_TYPE}` };
  if (headers['content-encoding'] !== undefined) return { refused: 'the answer is encoded' };
  const pieces: Buffer[] = [];
  let byteCount = 0;
  try {
    for await (const piece of stream as AsyncIterable<Buffer>) {
      byteCount += piece.length;
      if (byteCount > MESSAGE_BYTES_MAX) return { refused: `the answer is longer than ${MESSAGE_BYTES_MAX} bytes` };
      pieces.push(piece);
    }
  } catch {
    return { refused: 'the answer is cut short' };
  }
  return { bytes: Buffer.concat(pieces) };
}

/** How long a cache on the way has held an answer counts (RFC 8484 §5.1). */
function aged(answer: ServerAnswer, { age }: IncomingHttpHeaders): ServerAnswer {
  const seconds = Number(age ?? 0);
  if (!('records' in answer) || !(seconds > 0)) return answer;
  return { records: answer.records.map(({ address, ttl }) => ({ address, ttl: Math.max(0, ttl - seconds) })) };
}

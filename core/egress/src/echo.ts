import { Transform, type TransformCallback } from 'node:stream';

/** A text that is shorter than this has no ends to cut off, as its spellings within base64 want. */
const INNER_LEAST = 12;

/**
 * Passes bytes on as long as none of some texts is among them, in one piece or in many. Where one comes, nothing of it passes
 * and the stream fails. The texts are printable ASCII: what could be a part of one is held back until more comes, whatever it
 * is. How much that is depends on their length alone; were it what a text begins with, whoever has a server say back what he
 * guesses would see letter by letter when he is right.
 */
export class EchoGuard extends Transform {
  readonly #texts: readonly Buffer[];
  readonly #longest: number;
  readonly #frames: Frames | null;
  #held: Buffer = Buffer.alloc(0);

  /** @param framing of what the bytes are, where that comes in frames: one that is whole is not held back. Default: there are none. */
  constructor(texts: readonly string[], framing: Framing | null = null) {
    super();
    this.#texts = texts.map((text) => Buffer.from(text, 'latin1'));
    this.#longest = Math.max(1, ...this.#texts.map(({ length }) => length));
    this.#frames = framing === null ? null : new Frames(framing);
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#texts.some((text) => bytes.includes(text))) return done(new Error('a secret came back'));
    const keep = Math.min(printableAtEnd(bytes, this.#longest - 1), this.#frames?.pass(chunk) ?? Infinity);
    this.#held = bytes.subarray(bytes.length - keep);
    done(null, bytes.subarray(0, bytes.length - keep));
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }
}

function printableAtEnd(bytes: Buffer, most: number): number {
  let length = 0;
  for (; length < most && length < bytes.length; length++) {
    const byte = bytes[bytes.length - 1 - length] ?? 0;
    if (byte < 0x20 || byte > 0x7e) break;
  }
  return length;
}

/** What follows the head of a frame, in bytes; null: more of the head is needed. */
export type Framing = (head: readonly number[]) => bigint | null;

/** Where frames end. */
class Frames {
  readonly #framing: Framing;
  readonly #head: number[] = [];
  #left = 0n;
  #sinceEnd = 0;

  constructor(framing: Framing) {
    this.#framing = framing;
  }

  /** Takes the next bytes. @returns how many have come since a frame ended */
  pass(chunk: Buffer): number {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0n) {
        const taken = Math.min(chunk.length - at, Number(this.#left));
        this.#left -= BigInt(taken);
        this.#sinceEnd += taken;
        at += taken;
      } else {
        this.#head.push(chunk[at] ?? 0);
        this.#sinceEnd += 1;
        at += 1;
        const length = this.#framing(this.#head);
        if (length === null) continue;
        this.#left = length;
        this.#head.length = 0;
      }
      if (this.#left === 0n) this.#sinceEnd = 0;
    }
    return this.#sinceEnd;
  }
}

/** One side of a WebSocket (RFC 6455 §5.2); the key of a mask counts to what follows. */
export const WEBSOCKET: Framing = ([, second, ...extended]) => {
  if (second === undefined) return null;
  const short = second & 0x7f;
  const wanted = short === 127 ? 8 : short === 126 ? 2 : 0;
  if (extended.length < wanted) return null;
  const length = wanted === 0 ? BigInt(short) : numberOf(extended);
  return length + (second > 0x7f ? 4n : 0n);
};

/** Messages of gRPC: whether it is compressed, and its length in 4 bytes. */
export const GRPC: Framing = ([, ...length]) => (length.length < 4 ? null : numberOf(length));

const numberOf = (bytes: readonly number[]): bigint => bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);

/** Whether one of some texts stands in a text. */
export function holdsAny(text: string, texts: readonly string[]): boolean {
  return texts.some((each) => text.includes(each));
}

/** How a value comes back where a server says it back: as it is, and as JSON, addresses, pages and base64 have it. */
export function spellingsOf(value: string): readonly string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const url = encodeURIComponent(value);
  const page = value.replace(/[&<>"']/g, (letter) => `&${PAGE[letter] ?? ''};`);
  const texts = [value, json, json.replaceAll('/', '\\/'), url, lowered(url), formed(value), lowered(formed(value)), page, ...(value.length < INNER_LEAST ? [] : withinBase64(value))];
  return [...new Set(texts)];
}

const PAGE: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": '#39' };

const formed = (value: string): string => new URLSearchParams([['', value]]).toString().slice(1);
const lowered = (escaped: string): string => escaped.replace(/%[0-9A-F]{2}/g, (each) => each.toLowerCase());

/** What base64 makes of the value at each of the three places where it can begin, without the letters that it shares with its neighbours. */
function withinBase64(value: string): readonly string[] {
  return [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.from('\0'.repeat(before) + value);
    const [from, to] = [Math.ceil((before * 4) / 3), Math.floor((bytes.length * 4) / 3)];
    return (['base64', 'base64url'] as const).map((encoding) => bytes.toString(encoding).slice(from, to));
  });
}

/**
 * The head of an HTTP/1.1 request (RFC 9112 §2–§5), read as strictly as a proxy must: where two readers could take one request
 * for two different ones it is refused, not mended.
 */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly version: '1.0' | '1.1';
  /** Names as they were sent, values without the blanks around them, one byte per character. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Bytes of the body, or that it comes in chunks (RFC 9112 §6.3). */
  readonly body: number | 'chunked';
}

export interface Refusal {
  /** HTTP status with which to answer (RFC 9110 §15). */
  readonly refused: 400 | 431 | 505;
  readonly reason: string;
}

/** Most bytes of a head: request line, headers and the empty line. */
const HEAD_BYTES_MAX = 16_384;
const CRLF = '\r\n';
const END = `${CRLF}${CRLF}`;

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([\\x21-\\x7e]+) HTTP/(\\d)\\.(\\d)$`);
/** Blanks around the value are cut off in a second step: two greedy matches of blanks side by side would be quadratic. */
const HEADER_LINE = new RegExp(`^(${TOKEN}):([\\t\\x20-\\x7e\\x80-\\xff]*)$`);
const FIRST_BYTE = new RegExp(`^${TOKEN}$`);

const refuse = (reason: string, refused: Refusal['refused'] = 400): Refusal => ({ refused, reason });

/**
 * Cuts the head off what a client sends. `restAt` is where the body, or whatever follows, begins. A call costs a search for the
 * end within 16 KiB and, once it is there, one pass.
 */
export function readHead(bytes: Buffer): { readonly need: 'more' } | { readonly head: RequestHead; readonly restAt: number } | Refusal {
  const within = bytes.subarray(0, HEAD_BYTES_MAX);
  if (within.length > 0 && !FIRST_BYTE.test(within.toString('latin1', 0, 1))) return refuse('not a request of HTTP');
  const line = within.indexOf('\n');
  if (line !== -1 && within[line - 1] !== 0x0d) return refuse('a line that does not end with CR LF');
  const end = within.indexOf(END);
  if (end === -1) return within.length < HEAD_BYTES_MAX ? { need: 'more' } : refuse(`a head of more than ${HEAD_BYTES_MAX} bytes`, 431);
  const head = parseHead(within.toString('latin1', 0, end).split(CRLF));
  return 'refused' in head ? head : { head, restAt: end + END.length };
}

function parseHead([first = '', ...lines]: readonly string[]): RequestHead | Refusal {
  const [, method = '', target = '', major, minor] = REQUEST_LINE.exec(first) ?? [];
  if (method === '') return refuse('a request line that is none');
  if (major !== '1' || (minor !== '0' && minor !== '1')) return refuse(`HTTP version ${major}.${minor}`, 505);
  const headers: (readonly [string, string])[] = [];
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return refuse('a header line that is none');
    headers.push([name, trimBlanks(value)]);
  }
  const version = `1.${minor}` as const;
  const body = bodyOf(headers, version);
  return typeof body === 'object' ? body : { method, target, version, headers, body };
}

function trimBlanks(value: string): string {
  let [from, to] = [0, value.length];
  const isBlank = (at: number): boolean => value[at] === ' ' || value[at] === '\t';
  while (from < to && isBlank(from)) from++;
  while (to > from && isBlank(to - 1)) to--;
  return value.slice(from, to);
}

/** All values of a header, in order. `name` is in small letters. */
export function valuesOf(headers: RequestHead['headers'], name: string): readonly string[] {
  return headers.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
}

/** RFC 9112 §6.3, without the choices that it leaves to a lenient reader. */
function bodyOf(headers: RequestHead['headers'], version: RequestHead['version']): RequestHead['body'] | Refusal {
  const [lengths, codings] = [valuesOf(headers, 'content-length'), valuesOf(headers, 'transfer-encoding')];
  if (lengths.length > 0 && codings.length > 0) return refuse('Content-Length and Transfer-Encoding');
  if (lengths.length > 1 || codings.length > 1) return refuse('two lengths of one body');
  const [length, coding] = [lengths[0], codings[0]];
  if (coding !== undefined) return coding.toLowerCase() === 'chunked' && version === '1.1' ? 'chunked' : refuse('a Transfer-Encoding other than chunked');
  if (length === undefined) return 0;
  return /^\d{1,15}$/.test(length) ? Number(length) : refuse('a Content-Length that is no number');
}

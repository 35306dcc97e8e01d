import type { HashName } from './algorithms.ts';
import type { Trust } from './certificate.ts';
import { checkTimeStamp, type NoTimeStamp, type TimeStamp } from './check.ts';
import { formatQuestion, newNonce } from './request.ts';

/** What came of asking: the answer as it came, and what it says; or why there is none. `away`: no answer, ask again later. */
export type Stamped = { readonly answer: Buffer; readonly stamp: TimeStamp } | NoTimeStamp | { readonly away: string };

/** Who says of data that it was there at a time. */
export interface TimeStamper {
  /** For people. */
  readonly name: string;
  /** Never rejects. What is answered holds for this data, and can be checked again from `answer` and what is trusted alone. */
  readonly stamp: (data: Buffer, signal: AbortSignal) => Promise<Stamped>;
}

export interface Authority {
  readonly url: string;
  readonly trust: Trust;
  readonly hash: HashName;
  /** Object identifier of the policy under which it has to stamp. Default: its own choice. */
  readonly policy?: string | undefined;
  /** For the whole answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Most that is read of an answer. */
  readonly answerBytes: number;
}

const QUESTION_TYPE = 'application/timestamp-query';
const ANSWER_TYPE = 'application/timestamp-reply';

/** An authority that is asked by HTTP (RFC 3161 §3.4). It is sent a digest and a number drawn at random, never the data. */
export function httpTimeStamper(authority: Authority): TimeStamper {
  const { url, timeoutMs } = authority;
  const stamp: TimeStamper['stamp'] = async (data, signal) => {
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), timeoutMs);
    const late = new Promise<Stamped>((done) => end.signal.addEventListener('abort', () => done({ away: `no whole answer within ${timeoutMs} ms` })));
    try {
      return await Promise.race([late, ask(authority, data, AbortSignal.any([signal, end.signal])).catch(failed)]);
    } finally {
      clearTimeout(timer);
      end.abort();
    }
  };
  return { name: url, stamp };
}

async function ask({ url, trust, hash, policy, answerBytes }: Authority, data: Buffer, signal: AbortSignal): Promise<Stamped> {
  const nonce = newNonce();
  const body = new Uint8Array(formatQuestion({ data, hash, nonce, policy }));
  const response = await fetch(url, { method: 'POST', body, headers: { 'content-type': QUESTION_TYPE, accept: ANSWER_TYPE }, redirect: 'error', signal });
  if (response.status !== 200) return { away: `it answers with the status ${response.status}` };
  const type = response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== ANSWER_TYPE) return { bad: `its answer is of the type ${type ?? 'none'}, and not ${ANSWER_TYPE}` };
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > answerBytes) return { bad: `its answer has more than ${answerBytes} bytes` };
    parts.push(part);
  }
  const answer = Buffer.concat(parts);
  const stamp = checkTimeStamp(answer, { data, trust, hash, nonce, policy });
  return 'timeMs' in stamp ? { answer, stamp } : stamp;
}

function failed(error: unknown): Stamped {
  const { message, cause } = error as Error;
  return { away: cause instanceof Error ? `${message}: ${cause.message}` : message };
}

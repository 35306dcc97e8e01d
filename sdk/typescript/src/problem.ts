import { CaissonError, type AnyCode } from './errors.ts';

const TEXT_MOST = 4096;

/** The error that an answer with this status and body tells: problem+json (RFC 9457), or whatever stood in between. */
export function problemError(status: number, body: Buffer, requestId?: string | readonly string[]): CaissonError {
  return problemOf(asJson(body), status, typeof requestId === 'string' ? requestId : undefined);
}

/** The error of a problem that came as an event. */
export function problemOf(body: unknown, status: number, requestId?: string): CaissonError {
  const { code, detail, hint } = (typeof body === 'object' && body !== null ? body : {}) as Readonly<Record<string, unknown>>;
  const known = typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code);
  return new CaissonError({
    code: known ? (code as AnyCode) : 'ANSWER_INVALID',
    message: known && typeof detail === 'string' ? detail.slice(0, TEXT_MOST) : `the answer was HTTP ${status} without a problem that can be read`,
    hint: typeof hint === 'string' ? hint.slice(0, TEXT_MOST) : 'see that the address is one of Caisson',
    status,
    ...(requestId === undefined ? {} : { requestId }),
  });
}

function asJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}

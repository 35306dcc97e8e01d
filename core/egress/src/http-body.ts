import type { Readable } from 'node:stream';
import type { Admitted } from './admitted.ts';
import type { Refused } from './host.ts';

/** Longest body that is read, and bytes of bodies of one sandbox that are held at once. */
const BODY_MOST = 1_048_576;
const HELD_MOST = 16 * BODY_MOST;
/** Longest that one may take to come. */
const BODY_MS = 30_000;

/** Reads bodies by which is decided, whole. What they cost is bounded for each sandbox. */
export class Bodies {
  readonly #held = new WeakMap<Admitted, number>();

  /** A body as it came. It counts until `release` is called. Reading it takes turns with other sandboxes. */
  async read(from: Readable, admitted: Admitted): Promise<{ readonly body: Buffer; readonly release: () => void } | Refused> {
    let bytes = 0;
    const release = (): void => {
      this.#held.set(admitted, (this.#held.get(admitted) ?? 0) - bytes);
      bytes = 0;
    };
    const read = await this.#pieces(from, admitted, (more) => {
      bytes += more;
      const held = (this.#held.get(admitted) ?? 0) + more;
      this.#held.set(admitted, held);
      if (bytes > BODY_MOST) return `a body by which is decided has at most ${BODY_MOST} bytes`;
      return held > HELD_MOST ? `at most ${HELD_MOST} bytes of bodies are read at once` : null;
    });
    if ('refused' in read) {
      release();
      return read;
    }
    return { body: Buffer.concat(read.pieces), release };
  }

  #pieces(from: Readable, { turn }: Admitted, take: (bytes: number) => string | null): Promise<{ readonly pieces: readonly Buffer[] } | Refused> {
    const pieces: Buffer[] = [];
    return new Promise((resolve) => {
      const settle = (result: { readonly pieces: readonly Buffer[] } | Refused): void => {
        clearTimeout(timer);
        from.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
        resolve(result);
      };
      const onData = (piece: Buffer): void => {
        const refused = take(piece.length);
        if (refused !== null) return settle({ refused });
        pieces.push(piece);
        if (turn.spend(piece.length)) return;
        from.pause();
        turn.wait(() => from.resume());
      };
      const onEnd = (): void => settle({ pieces });
      const onGone = (): void => settle({ refused: 'the body ended before it was whole' });
      const timer = setTimeout(() => settle({ refused: `a body by which is decided comes within ${BODY_MS} ms` }), BODY_MS);
      from.on('data', onData).once('end', onEnd).once('close', onGone).once('error', onGone);
    });
  }
}

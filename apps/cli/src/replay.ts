/** Longest sequence that is held back until its end comes. */
const HELD_MOST = 1024 * 1024;
/** A pause this long before a piece says that what was written before has all been told. */
const QUIET_MS = 250;
/** Waiting this long in all says the same of a command that never pauses. */
const WAITED_MOST_MS = 2_000;

const SEQUENCE = /\u0005|\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]*[0-OQ-WYZ\\`-~])/g;
const CUT = /\u001b(?:\[[0-?]*[ -/]*|\][^\u0007\u001b]*\u001b?|[PX^_][^\u001b]*\u001b?|[ -/]*)$/;

/**
 * What a terminal answers by typing, such as where its cursor is, what it is and which colours it has; and graphics, each of
 * which it answers as well.
 */
const QUERIES: readonly RegExp[] = [
  /^\u0005$/,
  /^\u001bZ$/,
  /^\u001b\[\??[\d;]*n$/,
  /^\u001b\[[>=]?[\d;]*c$/,
  /^\u001b\[\??[\d;]*\$p$/,
  /^\u001b\[>[\d;]*q$/,
  /^\u001b\[\?[\d;]*[uS]$/,
  /^\u001b\[(?:1[1345689]|2[01])(?:;[\d;]*)?t$/,
  /^\u001b\[[01]?x$/,
  /^\u001b\[[\d;]*(?:\*y|\$w|'\||&u)$/,
  /^\u001b\](?:[^\u0007\u001b]*;)?\?(?:[;\u0007]|\u001b\\)/,
  /^\u001bP(?:\$|\+)q/,
  /^\u001b_G/,
];

export interface Replay {
  show(bytes: Uint8Array): Promise<void>;
  /** Shows what was held back, because nothing comes after it. */
  end(): Promise<void>;
}

/**
 * Shows output that begins with what a program wrote before we came, without the queries in that part: the program has had
 * its answers, and those to a repetition would be typed at whatever reads now. Pieces may be cut anywhere, and what is new is
 * shown as it is. The API does not tell where that begins, so a pause does.
 *
 * @param now milliseconds of a clock that does not go back
 */
export function replay(write: (bytes: Uint8Array) => Promise<void>, now: () => number): Replay {
  let held = '';
  let isOver = false;
  let isFirst = true;
  let sinceMs = now();
  let waitedMs = 0;
  const released = (): Uint8Array => {
    const bytes = Buffer.from(held, 'latin1');
    held = '';
    return bytes;
  };
  const shownOf = (bytes: Uint8Array): Uint8Array => {
    const waited = now() - sinceMs;
    waitedMs += waited;
    if ((waited > QUIET_MS && !isFirst) || waitedMs > WAITED_MOST_MS) isOver = true;
    isFirst = false; // the first one waits for the connection as well
    if (isOver) return held === '' ? bytes : Buffer.concat([released(), bytes]);
    const text = held + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const cut = CUT.exec(text)?.[0] ?? '';
    held = cut.length > HELD_MOST ? '' : cut;
    return Buffer.from(text.slice(0, text.length - held.length).replace(SEQUENCE, (sequence) => (QUERIES.some((query) => query.test(sequence)) ? '' : sequence)), 'latin1');
  };
  return {
    async show(bytes) {
      await write(shownOf(bytes));
      sinceMs = now(); // only waiting for the program counts, not for our terminal
    },
    end: () => write(released()),
  };
}

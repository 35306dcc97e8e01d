/** Longest sequence that is held back until its end comes; of what is longer only its beginning is remembered. */
const HELD_MOST = 64 * 1024;

/**
 * Whatever begins with ESC, and ENQ; in bytes, one character each. A control string (OSC, DCS, SOS, PM, APC) also ends where
 * another sequence begins. An ESC of no sequence is one by itself, so that every ESC is in one of them.
 */
const SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\|(?=\u001b[^\\]|$))|[ -/]*[0-OQ-WYZ`-~]|)|\u0005/g;
const CUT = /\u001b(?:\[[0-?]*[ -/]*|[\]PX^_][^\u0007\u001b]*\u001b?|[ -/]*)$/;
/** Colour, cursor, erasing, scrolling and modes: what shows, and what a terminal answers nothing to. */
const SHOWS = /^\u001b(?:\[\??[\d;:]*[ "'$]?[@A-Z`abdefghlmrsuqX]|[78=>DEHMc]|[()*+][0-9A-B])$/;
/** Asks which keyboard protocol is on. */
const ASKS = /^\u001b\[\?[\d;]*u$/;

/** C1 controls as UTF-8 has them, of which some terminals take each for the ESC sequence of the same name (ECMA-48 §5.3). */
const C1 = /\u00c2+[\u0080-\u009f]+/g;
const C1_CUT = /\u00c2+$/;

/** What puts a terminal back after something else drew on it: colours, cursor, screen, mouse, paste, margins, keys. */
export const AFTERWARDS = '\u001b[0m\u001b[?25h\u001b[?1049l\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1004l\u001b[?1006l\u001b[?2004l\u001b[?7h\u001b[r\u001b[?1l\u001b>\r\n';

/**
 * Leaves of output what shows, and takes out what does more: titles, the clipboard (OSC 52), notifications, links, files and
 * whatever a terminal would answer as if it were typed. Pieces may be cut anywhere.
 */
export function showOnly(): (bytes: Uint8Array) => Uint8Array {
  const ofSequences = inPieces(CUT, (text) => text.replace(SEQUENCE, (sequence) => (SHOWS.test(sequence) && !ASKS.test(sequence) ? sequence : '')));
  const ofC1 = inPieces(C1_CUT, (text) => text.replace(C1, '')); // after the other, which can bring two bytes together
  return (bytes) => Buffer.from(ofC1(ofSequences(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'))), 'latin1');
}

/** Holds back what may go on in the next piece. */
function inPieces(cut: RegExp, clean: (text: string) => string): (piece: string) => string {
  let held = '';
  return (piece) => {
    const text = held + piece;
    const end = cut.exec(text)?.[0] ?? '';
    held = end.length > HELD_MOST ? end.slice(0, 2) : end;
    return clean(text.slice(0, text.length - end.length));
  };
}

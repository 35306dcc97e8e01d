import type { Refused } from './host.ts';

/** Longest path that is compared with a pattern, so that comparing it is bounded. */
const PATH_CHARS_MAX = 4_096;
const STAR = 0;
const STARS = 1;
type Token = string | typeof STAR | typeof STARS;

/** A path that means the same to every server, decoded. */
export interface CanonicalPath {
  readonly path: string;
  /** Without the parameters of its segments: some servers read `/admin;x` as `/admin`. */
  readonly bare: string;
}

/**
 * The path of a request target in origin form (RFC 9112 §3.2.1), without its query and decoded once (RFC 3986 §2.1). What
 * two servers could take for two paths is refused instead of decided: escapes that are broken, not UTF-8, of a separator, of
 * a control character or of another escape; backslashes; dot segments (RFC 3986 §5.2.4), also with parameters; empty segments
 * within; and letters of other scripts that stand for any of these (Unicode NFKC).
 */
export function canonicalPath(target: string): CanonicalPath | Refused {
  const encoded = target.split('?', 1)[0] ?? '';
  if (encoded.length > PATH_CHARS_MAX) return { refused: `a path that rules speak of has at most ${PATH_CHARS_MAX} characters` };
  if (!/^\/[\u0021-\u007e]*$/.test(encoded)) return { refused: 'a path begins with / and is printable ASCII' };
  if (/[\\#]|%(?:2f|5c)/i.test(encoded)) return { refused: 'a path holds no \\, no # and no escape of a separator' };
  const path = decoded(encoded);
  if (path === null) return { refused: 'a path has only escapes that are whole and UTF-8' };
  if (/[\u0000-\u001f\u007f]/.test(path)) return { refused: 'a path holds no control character, escaped or not' };
  if (/%[0-9A-Fa-f]{2}/.test(path)) return { refused: 'a path is escaped once, not twice' };
  const folded = path.normalize('NFKC');
  const segments = folded.split('/').slice(1);
  if (segments.length !== path.split('/').length - 1 || folded.includes('\\')) return { refused: 'a path holds no letter that stands for a separator' };
  const bare = segments.map((segment) => segment.split(';', 1)[0] ?? '');
  if (bare.some((segment) => segment === '.' || segment === '..')) return { refused: 'a path has no dot segment' };
  if (segments.slice(0, -1).includes('')) return { refused: 'a path has no empty segment' };
  return { path, bare: path.replace(/;[^/]*/g, '') };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** A text in which every whole escape is the character of its byte, whatever else is in it: for looking through, and never for deciding what is meant. */
export function unescaped(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Whether a decoded path is one that a pattern of a rule means. Takes time in proportion to path times pattern at most. */
export function matchesPath(pattern: string, path: string): boolean {
  const tokens = tokensOf(pattern);
  let token = 0;
  let char = 0;
  // Where to go on when what follows a star does not match: the last star of each kind suffices, since the leftmost
  // match of what lies between two of them leaves the most to the later one, and * ends with its segment.
  let star = { token: -1, char: -1 };
  let stars = { token: -1, char: -1 };
  while (char < path.length || token < tokens.length) {
    const now = tokens[token];
    if (now === STARS) {
      stars = { token: ++token, char };
      star = { token: -1, char: -1 };
    } else if (now === STAR) {
      star = { token: ++token, char };
    } else if (char < path.length && now === path[char]) {
      token++;
      char++;
    } else if (star.char >= 0 && star.char < path.length && path[star.char] !== '/') {
      star = { token: star.token, char: star.char + 1 };
      ({ token, char } = star);
    } else if (stars.char >= 0 && stars.char < path.length) {
      stars = { token: stars.token, char: star.char < 0 ? stars.char + 1 : nextStart(path, stars.char) };
      star = { token: -1, char: -1 };
      ({ token, char } = stars);
    } else {
      return false;
    }
  }
  return true;
}

/**
 * Where ** goes on after a * behind it has failed. That * had every place of its segment, and what follows the segment is the
 * same for them all, so that no later start in the same segment does better.
 */
function nextStart(path: string, char: number): number {
  if (path[char] === '/') return char + 1;
  const slash = path.indexOf('/', char);
  return slash === -1 ? path.length : slash;
}

function tokensOf(pattern: string): readonly Token[] {
  return pattern.split(/(\*\*|\*)/).flatMap((piece): readonly Token[] => {
    if (piece === '**') return [STARS];
    // A pattern that cannot be decoded is no rule by its schema; as it stands it matches no path that is decoded.
    return piece === '*' ? [STAR] : (decoded(piece) ?? piece).split('');
  });
}

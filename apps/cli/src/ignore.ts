/** Whether a path below a folder is to be left out. */
export type Ignore = (path: string, isFolder: boolean) => boolean;

interface Rule {
  readonly segments: readonly string[];
  readonly keeps: boolean;
  readonly foldersOnly: boolean;
}

/**
 * The rules of a `.caissonignore`: one glob a line with `*`, `?` and `**`, the last one that fits counts. `#` begins a comment, `!`
 * takes back, a `/` at the end means folders only, and one anywhere else binds the glob to the top folder. What is below an
 * ignored folder is ignored with it.
 */
export function ignoreRules(text: string): Ignore {
  const rules = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#')).map(ruleOf);
  return (path, isFolder) => {
    const parts = path.split('/');
    const last = rules.findLast(({ segments, foldersOnly }) => (isFolder || !foldersOnly) && fits(segments, parts));
    return last !== undefined && !last.keeps;
  };
}

function ruleOf(line: string): Rule {
  const keeps = line.startsWith('!');
  const glob = keeps ? line.slice(1) : line;
  const foldersOnly = glob.endsWith('/');
  const segments = glob.replace(/^\//, '').replace(/\/$/, '').split('/');
  const isBound = glob.slice(0, -1).includes('/');
  return { segments: isBound ? segments : ['**', ...segments], keeps, foldersOnly };
}

/** Both in time that grows with the product of the lengths: each star is tried at most once at each place. */
function fits(segments: readonly string[], parts: readonly string[]): boolean {
  return matches(segments, parts, (segment) => segment === '**', (segment, part) => matches(segment, part, (sign) => sign === '*', (sign, character) => sign === '?' || sign === character));
}

interface Row {
  readonly length: number;
  readonly [at: number]: string;
}

function matches(signs: Row, things: Row, isStar: (sign: string) => boolean, isOne: (sign: string, thing: string) => boolean): boolean {
  let sign = 0;
  let star = -1;
  let starAt = 0;
  for (let at = 0; at < things.length; ) {
    const current = signs[sign];
    if (current !== undefined && isStar(current)) {
      star = sign++;
      starAt = at;
    } else if (current !== undefined && isOne(current, things[at] ?? '')) {
      sign++;
      at++;
    } else if (star === -1) return false;
    else {
      sign = star + 1;
      at = ++starAt;
    }
  }
  while (sign < signs.length && isStar(signs[sign] ?? '')) sign++;
  return sign === signs.length;
}

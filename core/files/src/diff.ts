import { CaissonError } from '@caisson/contract';

/** One line of a hunk; the line break belongs to it, and only the last line of a file may have none. */
interface HunkLine {
  readonly sign: ' ' | '+' | '-';
  readonly text: string;
}

interface Hunk {
  /** Line of the old file at which it starts, from 1; 0 for an empty file. */
  readonly at: number;
  readonly lines: readonly HunkLine[];
}

/** The changes of one file in a unified diff. Null stands for /dev/null: a file that is made, or removed. */
export interface FileDiff {
  readonly from: string | null;
  readonly to: string | null;
  readonly hunks: readonly Hunk[];
}

const FILES_MAX = 1000;
/** Lines by which a hunk may be away from where its header says. */
const AWAY_MAX = 1000;
/** Lines of a file that is patched: each is an object, and a file may be nothing but their ends. */
const LINES_MAX = 1_000_000;
/** Lines that are compared to find the places of the hunks of one file: whoever wrote it must not hold up everybody else. */
const COMPARED_MAX = 4_000_000;
const HUNK_HEADER = /^@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@/;

/**
 * Reads a unified diff, as of `diff -u` and `git diff`. Names lose a leading `a/` or `b/` when the old one has the first and
 * the new one the second. What stands between files is passed over, as patch(1) does; changes without hunks (modes,
 * renames, binary files) are refused, because nothing else would carry them out.
 * @throws CaissonError PATCH_REJECTED
 */
export function parseDiff(diff: string): readonly FileDiff[] {
  const lines = diff.split(/(?<=\n)/);
  const files: FileDiff[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? '';
    if (/^(rename |copy |old mode |new mode |GIT binary patch|Binary files )/.test(line)) throw rejected(`line ${at + 1} asks for something else than changed lines: ${line.slice(0, 256).trim()}`);
    if (!line.startsWith('--- ') || !(lines[at + 1] ?? '').startsWith('+++ ')) {
      if (HUNK_HEADER.test(line)) throw rejected(`line ${at + 1} is a hunk of no file`);
      at += 1;
      continue;
    }
    const { hunks, next } = takeHunks(lines, at + 2);
    files.push({ ...namesOf(line, lines[at + 1] ?? ''), hunks });
    if (files.length > FILES_MAX) throw rejected(`more than ${FILES_MAX} files`);
    at = next;
  }
  if (files.length === 0) throw rejected('it is no unified diff');
  return files;
}

function namesOf(old: string, renewed: string): Pick<FileDiff, 'from' | 'to'> {
  const [from, to] = [nameIn(old), nameIn(renewed)];
  if (from === null && to === null) throw rejected('a file that is neither there before nor after');
  const hasPrefixes = (from === null || from.startsWith('a/')) && (to === null || to.startsWith('b/'));
  const strip = (name: string | null): string | null => (hasPrefixes && name !== null ? name.slice(2) : name);
  return { from: strip(from), to: strip(to) };
}

/** What stands behind `--- `, without the time behind a tab. No pattern looks for its end: one would go back from each sign of a line of them. */
function nameIn(line: string): string | null {
  let end = line.length;
  while (end > 4 && '\r\n'.includes(line[end - 1] ?? '')) end -= 1;
  const tab = line.indexOf('\t', 4);
  const name = line.slice(4, tab === -1 ? end : Math.min(tab, end));
  if (name === '' || name.startsWith('"')) throw rejected(`a name that cannot be read: ${name.slice(0, 256)}`);
  return name === '/dev/null' ? null : name;
}

function takeHunks(lines: readonly string[], start: number): { readonly hunks: readonly Hunk[]; readonly next: number } {
  const hunks: Hunk[] = [];
  let at = start;
  for (let header = HUNK_HEADER.exec(lines[at] ?? ''); header !== null; header = HUNK_HEADER.exec(lines[at] ?? '')) {
    const [, from = '0', oldCount = '1', , newCount = '1'] = header;
    const { taken, next } = takeLines(lines, at, { old: Number(oldCount), renewed: Number(newCount) });
    hunks.push({ at: Number(from), lines: taken });
    at = next;
  }
  if (hunks.length === 0) throw rejected(`line ${start + 1} is no hunk`);
  return { hunks, next: at };
}

/** As many lines as the header of the hunk says: nothing else tells where it ends. */
function takeLines(lines: readonly string[], header: number, counts: { readonly old: number; readonly renewed: number }): { readonly taken: readonly HunkLine[]; readonly next: number } {
  const taken: HunkLine[] = [];
  let { old, renewed } = counts;
  let at = header + 1;
  while (old > 0 || renewed > 0) {
    const line = lineIn(lines[at] ?? '', at);
    if (line.sign !== '+') old -= 1;
    if (line.sign !== '-') renewed -= 1;
    if (old < 0 || renewed < 0) throw rejected(`the hunk at line ${header + 1} has other counts than lines`);
    const isUnbroken = (lines[at + 1] ?? '').startsWith('\\ ');
    taken.push(isUnbroken ? { ...line, text: line.text.replace(/\n$/, '') } : line);
    at += isUnbroken ? 2 : 1;
  }
  return { taken, next: at };
}

function lineIn(line: string, at: number): HunkLine {
  // An empty context line whose one space an editor has taken away.
  if (line === '\n' || line === '\r\n') return { sign: ' ', text: line };
  const sign = line[0];
  if (sign !== ' ' && sign !== '+' && sign !== '-') throw rejected(`line ${at + 1} is no line of a hunk`);
  return { sign, text: line.slice(1) };
}

/**
 * The new content of one file. Every context and removed line must be exactly there; a hunk that is not where its header
 * says is looked for nearby, and never before the hunk above it.
 * @throws CaissonError PATCH_REJECTED naming the hunk
 */
export function applyHunks(text: string, { from, to, hunks }: FileDiff): string {
  const name = to ?? from ?? '';
  const lines = linesOf(text, name);
  const budget: Budget = { left: COMPARED_MAX, name };
  const result: string[] = [];
  const take = (more: readonly string[]): void => {
    for (const line of more) result.push(line);
  };
  let used = 0;
  let shift = 0;
  for (const [index, hunk] of hunks.entries()) {
    const old = hunk.lines.filter(({ sign }) => sign !== '+').map((line) => line.text);
    const stated = Math.max(hunk.at - (old.length === 0 ? 0 : 1), 0);
    const at = placeOf(lines, old, { stated: stated + shift, after: used }, budget);
    if (at === null) throw rejected(`hunk ${index + 1} of ${name} (line ${hunk.at}) does not fit the file`);
    shift = at - stated;
    // A line without a break can only be the last one.
    take(lines.slice(used, at));
    take(hunk.lines.filter(({ sign }) => sign !== '-').map((line) => line.text));
    used = at + old.length;
  }
  take(lines.slice(used));
  if (result.slice(0, -1).some((line) => !line.endsWith('\n'))) throw rejected(`${name}: a line without an end is not the last one`);
  return result.join('');
}

/** Lines with their ends. @throws CaissonError PATCH_REJECTED */
function linesOf(text: string, name: string): readonly string[] {
  const lines: string[] = [];
  for (let at = 0; at < text.length; ) {
    if (lines.length === LINES_MAX) throw rejected(`${name} has more than ${LINES_MAX} lines`);
    const end = text.indexOf('\n', at) + 1 || text.length;
    lines.push(text.slice(at, end));
    at = end;
  }
  return lines;
}

interface Budget {
  left: number;
  readonly name: string;
}

/** The place nearest to the stated one; none when two are equally near. @throws CaissonError PATCH_REJECTED when it takes too long to find */
function placeOf(lines: readonly string[], old: readonly string[], { stated, after }: { readonly stated: number; readonly after: number }, budget: Budget): number | null {
  const isLine = (line: string, at: number): boolean => {
    if (--budget.left < 0) throw rejected(`${budget.name} has too many places at which its hunks nearly fit`);
    return lines[at] === line;
  };
  const fits = (at: number): boolean => at >= after && at + old.length <= lines.length && old.every((line, index) => isLine(line, at + index));
  if (old.length === 0) return stated >= after && stated <= lines.length ? stated : null;
  if (fits(stated)) return stated;
  for (let distance = 1; distance <= AWAY_MAX; distance++) {
    const places = [stated - distance, stated + distance].filter(fits);
    if (places.length > 0) return places.length === 1 ? (places[0] ?? null) : null;
  }
  return null;
}

export function rejected(detail: string): CaissonError {
  return new CaissonError('PATCH_REJECTED', { detail });
}

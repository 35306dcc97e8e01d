import { printable, problemOf } from '@caisson/contract/errors';

/** What of an error people are shown. */
export interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The code, message and hint of any thrown value: an error of this program, or one of the SDK, which has a class of its own. */
export function told(error: unknown): Told {
  if (error instanceof Error && (error.name === 'CaissonError' || error.name === 'ExecError')) {
    const { code, message, hint } = error as Error & Partial<Told>;
    if (typeof code === 'string' && typeof hint === 'string') return { code: printable(code), message: printable(message), hint: printable(hint) };
  }
  return problemOf(error);
}

export function print(text: string): void {
  process.stdout.write(text);
}

/** One JSON document, on a line of its own. */
export function printJson(value: unknown): void {
  print(`${jsonText(value)}\n`);
}

/** JSON leaves some signs as they are that drive a terminal or reorder a line; as escapes they mean the same to whoever parses it. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A table with a heading; cells may hold anything, and are shown as what cannot drive a terminal. */
export function printTable(heading: readonly string[], rows: readonly (readonly string[])[]): void {
  const shown = [heading, ...rows.map((row) => row.map(printable))];
  const widths = heading.map((_, column) => Math.max(...shown.map((row) => row[column]?.length ?? 0)));
  for (const row of shown) print(`${row.map((cell, column) => (column === heading.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  ')}\n`);
}

/** For people, on the standard error. */
export function note(text: string): void {
  process.stderr.write(`caisson: ${text}\n`);
}

const STEPS = [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'm'], [1_000, 's']] as const;

/** A span of time in its largest unit, such as `5m`. */
export function showSpan(ms: number): string {
  const [factor, unit] = STEPS.find(([step]) => ms >= step) ?? [1_000, 's'];
  return `${Math.max(0, Math.floor(ms / factor))}${unit}`;
}

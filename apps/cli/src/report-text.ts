import { markdownWord, textWord } from './report-escape.ts';
import type { Cell, Section } from './report-sections.ts';

/** The report for a terminal. */
export function textOf(sections: readonly Section[]): string {
  return sections.filter(({ rows, notes }) => rows.length + notes.length > 0).map(plainSection).join('\n');
}

function plainSection({ title, columns, rows, notes }: Section): string {
  const cells = rows.map((row) => row.map((cell) => shown(cell, textWord)));
  const all = columns.some((name) => name !== '') && rows.length > 0 ? [columns, ...cells] : cells;
  const widths = columns.map((_, at) => Math.max(0, ...all.map((row) => row[at]?.length ?? 0)));
  const lines = all.map((row) => `  ${row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join('  ')}`);
  return [title, ...lines, ...notes.map((note) => `  – ${note}`)].map((line) => `${line}\n`).join('');
}

/** The report as Markdown (GitHub Flavored Markdown §4.10 for tables). */
export function markdownOf(sections: readonly Section[]): string {
  const parts = sections.filter(({ rows, notes }) => rows.length + notes.length > 0).map(markdownSection);
  return `# Audit report\n\n${parts.join('\n')}`;
}

function markdownSection({ title, columns, rows, notes }: Section): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = rows.length === 0 ? [] : [line(columns), line(columns.map(() => '---')), ...rows.map((row) => line(row.map((cell) => shown(cell, markdownWord)))), ''];
  return [`## ${title}`, '', ...table, ...notes.map((note) => `- ${note}`), ...(notes.length > 0 ? [''] : [])].map((each) => `${each}\n`).join('');
}

function shown(cell: Cell, word: (said: string) => string): string {
  return typeof cell === 'object' ? word(cell.said) : String(cell);
}

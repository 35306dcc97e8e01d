import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CODES, errorRow } from '../core/contract/src/errors.ts';

/** The generated files: path from the root → text. */
function generated(): ReadonlyMap<string, string> {
  return new Map([['api/errors.md', errorsPage()]]);
}

function errorsPage(): string {
  const rows = ERROR_CODES.map((code) => {
    const { what, fix } = errorRow(code);
    return `| \`${code}\` | ${cell(what)} | ${cell(fix)} |`;
  });
  return [
    '# Errors',
    '',
    'Generated from `core/contract/src/errors.ts` by `./dev generate`. `{name}` stands for a value of the case at hand.',
    '',
    '| code | what happened | what to do |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Paths of generated files that are not what their source makes them. */
export function staleFiles(root: string): readonly string[] {
  return [...generated()].filter(([path, text]) => readIfThere(join(root, path)) !== text).map(([path]) => path);
}

/** Writes the stale files; the answer is their paths. */
export function writeGenerated(root: string): readonly string[] {
  const stale = staleFiles(root);
  for (const path of stale) writeFileSync(join(root, path), generated().get(path) ?? '');
  return stale;
}

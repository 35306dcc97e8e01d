import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { numbersTable } from './numbers.ts';
import { pythonFiles } from './python-types.ts';
import { openApiDocument } from '../apps/daemon/src/api/document.ts';
import { sdkTypes } from './sdk-types.ts';
import { ERROR_CODES, errorRow } from '../core/contract/src/errors.ts';

/** The generated files: path from the root → text. */
function generated(root: string): ReadonlyMap<string, string> {
  return new Map([
    ['api/errors.md', errorsPage()],
    ['api/openapi.json', `${JSON.stringify(openApiDocument(), null, 2)}\n`],
    ['sdk/typescript/src/generated.ts', sdkTypes(openApiDocument())],
    ['SPECIFICATION.md', specification(root)],
    ...pythonFiles(root, openApiDocument()),
  ]);
}

const BEGIN = '<!-- numbers: begin -->\n';
const END = '\n<!-- numbers: end -->';

/** Written by hand but for its numbers, which are those of the newest kept bench. */
function specification(root: string): string {
  const text = readFileSync(join(root, 'SPECIFICATION.md'), 'utf8');
  return text.slice(0, text.indexOf(BEGIN) + BEGIN.length) + numbersTable(root) + text.slice(text.indexOf(END));
}

function errorsPage(): string {
  const rows = ERROR_CODES.map((code) => {
    const { status, what, fix } = errorRow(code);
    return `| \`${code}\` | ${status} | ${cell(what)} | ${cell(fix)} |`;
  });
  return [
    '# Errors',
    '',
    'Generated from `core/contract/src/errors.ts` by `./dev generate`. `{name}` stands for a value of the case at hand.',
    '',
    '| code | HTTP | what happened | what to do |',
    '|---|---|---|---|',
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
  return [...generated(root)].filter(([path, text]) => readIfThere(join(root, path)) !== text).map(([path]) => path);
}

/** Writes the stale files; the answer is their paths. */
export function writeGenerated(root: string): readonly string[] {
  const stale = staleFiles(root);
  const fresh = generated(root);
  for (const path of stale) writeFileSync(join(root, path), fresh.get(path) ?? '');
  return stale;
}

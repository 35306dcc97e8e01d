import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A test as its source names it. */
export interface Title {
  /** Path from the root. */
  readonly file: string;
  /** As written; in a template, ${…} stands for what the table of the test fills in. */
  readonly text: string;
}

const CALL = /\b(?:test|it)\(\s*('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)/g;

function titlesIn(file: string, source: string): readonly Title[] {
  return [...source.matchAll(CALL)].map(([, quoted = '']) => ({ file, text: quoted.slice(1, -1).replace(/\\(['"`\\])/g, '$1') }));
}

/** Titles of every test under test/. */
export function readTitles(root: string): readonly Title[] {
  const files = globSync('test/**/*.ts', { cwd: root, exclude: ['**/node_modules/**'] }).sort();
  return files.flatMap((file) => titlesIn(file, readFileSync(join(root, file), 'utf8')));
}

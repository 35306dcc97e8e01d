import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface SourceFile {
  /** Path from the root, such as core/wire/src/call.ts. */
  readonly path: string;
  readonly text: string;
}

/** A folder with a package.json: its rights are its dependencies, its doors its exports. */
export interface Room {
  readonly name: string;
  readonly folder: string;
  readonly dependencies: readonly string[];
  readonly exports: Readonly<Record<string, string>>;
}

/** What the architecture is checked on. */
export interface Tree {
  readonly rooms: readonly Room[];
  /** TypeScript and C sources. */
  readonly files: readonly SourceFile[];
  /** The text of docs/dependencies.md. */
  readonly reasons: string;
}

/** Reads the tree from the disk. */
export function readTree(root: string): Tree {
  const read = (path: string): string => readFileSync(join(root, path), 'utf8');
  const exclude = ['**/node_modules/**', 'build/**'];
  const manifests = globSync(['core/*/package.json', 'apps/*/package.json', 'sdk/*/package.json', 'test/package.json', 'bench/package.json'], { cwd: root });
  const sources = globSync(['{core,apps,sdk,test,bench,tools}/**/*.ts', 'native/*/*.[ch]'], { cwd: root, exclude });
  return {
    rooms: manifests.sort().map((path) => parseRoom(dirname(path), read(path))),
    files: sources.sort().map((path) => ({ path, text: read(path) })),
    reasons: read('docs/dependencies.md'),
  };
}

function parseRoom(folder: string, manifest: string): Room {
  const { name, dependencies = {}, exports = {} } = JSON.parse(manifest) as {
    readonly name: string;
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly exports?: Readonly<Record<string, string>>;
  };
  return { name, folder, dependencies: Object.keys(dependencies), exports };
}

export interface Import {
  readonly file: SourceFile;
  readonly specifier: string;
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\b[^'";]*?\bfrom\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\b(?:import|require)\(\s*'([^']+)'/g;

/** Every module that a file names, types included. */
export function importsOf(file: SourceFile): readonly Import[] {
  return [...withoutComments(file.text).matchAll(IMPORT)].map((match) => ({ file, specifier: match[1] ?? match[2] ?? match[3] ?? '' }));
}

/** The text with comments blanked, line breaks kept. Comment signs in a string or template count as text. */
export function withoutComments(text: string): string {
  return text.replace(/('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (whole, string: string | undefined) =>
    string ?? whole.replace(/[^\n]/g, ' '));
}

import { globSync } from 'node:fs';
import { run } from 'node:test';
import { note, startProgress, verdict, type TestEvent } from './reporter.ts';

/** Longest that one test file may run, in milliseconds. */
const FILE_TIMEOUT_MS = 600_000;

interface Selection {
  readonly files: readonly string[];
  readonly names: readonly string[];
}

/** A pattern that some path contains selects files; any other selects tests by name. */
function select(files: readonly string[], patterns: readonly string[]): Selection {
  const paths = patterns.filter((pattern) => files.some((file) => file.includes(pattern)));
  const names = patterns.filter((pattern) => !paths.includes(pattern));
  return { files: paths.length === 0 ? files : files.filter((file) => paths.some((path) => file.includes(path))), names };
}

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/**
 * Runs the tests, one file after another, because they measure and limit real sandboxes. The last line is
 * `N passed, N failed`, with `, N skipped` where there are any. Resolves to 0 only when tests ran and none failed.
 */
export async function runTests(root: string, patterns: readonly string[]): Promise<number> {
  const all = globSync('test/**/*.test.ts', { cwd: root, exclude: ['**/node_modules/**'] }).toSorted();
  const { files, names } = select(all, patterns);
  const events: AsyncIterable<TestEvent> = run({
    cwd: root,
    files: files.map((file) => `${root}/${file}`),
    concurrency: 1,
    timeout: FILE_TIMEOUT_MS,
    ...(names.length > 0 && { testNamePatterns: names.map((name) => new RegExp(literal(name))) }),
  });
  const progress = startProgress(root);
  for await (const event of events) process.stdout.write(note(progress, event));
  process.stdout.write(`${verdict(progress)}\n`);
  return progress.failed === 0 && progress.passed > 0 ? 0 : 1;
}

import { relative } from 'node:path';
import { inspect } from 'node:util';

/** What is read of an event of node:test. */
export interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly name?: string;
    readonly nesting?: number;
    readonly file?: string;
    readonly entryFile?: string;
    readonly line?: number;
    readonly classname?: string;
    readonly message?: string;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details?: {
      readonly type?: string;
      readonly duration_ms?: number;
      readonly error?: { readonly failureType?: string; readonly cause?: unknown };
    };
  };
}

export interface Progress {
  readonly root: string;
  passed: number;
  failed: number;
  skipped: number;
  /** Of the file that is running: what it wrote since its last failure, and how many of its tests passed. */
  noise: string;
  filePassed: number;
}

export const startProgress = (root: string): Progress => ({ root, passed: 0, failed: 0, skipped: 0, noise: '', filePassed: 0 });

/** Most of a file's own output that is kept to be shown with a failure, in characters. */
const NOISE_MAX = 16_384;

/** Counts an event; the answer is what to show of it. */
export function note(progress: Progress, { type, data }: TestEvent): string {
  switch (type) {
    case 'test:dequeue': return isFile(data) ? noteFileStart(progress) : '';
    case 'test:stdout':
    case 'test:stderr':
      progress.noise = (progress.noise + (data.message ?? '')).slice(-NOISE_MAX);
      return '';
    case 'test:pass': return isSuite(data) || isFile(data) ? '' : notePass(progress, data); // a file in which no test ran passes as one
    case 'test:fail': return isSuite(data) && !isHook(data) ? '' : noteFail(progress, data);
    case 'test:complete': return isFile(data) ? noteFileEnd(progress, data) : '';
    default: return '';
  }
}

/** The last line of a run. */
export function verdict({ passed, failed, skipped }: Pick<Progress, 'passed' | 'failed' | 'skipped'>): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/** Whether the event is about a group of tests, whose members are counted themselves. */
function isSuite(data: TestEvent['data']): boolean {
  return data.details?.type === 'suite' || data.details?.error?.failureType === 'subtestsFailed';
}

/** What a group does before and after its tests: when that fails, no test of it says why. */
function isHook(data: TestEvent['data']): boolean {
  return data.details?.error?.failureType === 'hookFailed';
}

function isFile(data: TestEvent['data']): boolean {
  return data.nesting === 0 && data.name === data.file && data.entryFile === undefined;
}

function title({ root }: Progress, data: TestEvent['data']): string {
  const groups = data.classname === undefined ? '' : `${data.classname} › `;
  const name = isFile(data) ? 'the file itself' : `${groups}${data.name ?? ''}`;
  return `${relative(root, data.file ?? '')}:${data.line ?? 0}  ${name}`;
}

function notePass(progress: Progress, data: TestEvent['data']): string {
  const omitted = data.skip ?? data.todo;
  if (omitted === undefined || omitted === false) {
    progress.passed++;
    progress.filePassed++;
    return '';
  }
  progress.skipped++;
  return `skip  ${title(progress, data)}: ${omitted === true || omitted === '' ? 'no reason given' : omitted}\n`;
}

function noteFail(progress: Progress, data: TestEvent['data']): string {
  progress.failed++;
  const noise = progress.noise === '' ? '' : `  it wrote:\n${indent(progress.noise)}`;
  progress.noise = '';
  const cause = data.details?.error?.cause ?? data.details?.error;
  return `FAIL  ${title(progress, data)}\n${indent(explain(cause))}${noise}`;
}

/** Message and stack of what was thrown and of its causes, without the frames of the test runner. */
function explain(thrown: unknown): string {
  if (!(thrown instanceof Error)) return inspect(thrown, { depth: 6 });
  const own = (thrown.stack ?? thrown.message).split('\n').filter((line) => !/^ +at .*node:internal/.test(line)).join('\n');
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${explain(thrown.cause)}`;
}

function noteFileStart(progress: Progress): string {
  progress.noise = '';
  progress.filePassed = 0;
  return '';
}

function noteFileEnd(progress: Progress, data: TestEvent['data']): string {
  return `      ${relative(progress.root, data.file ?? '')}: ${progress.filePassed} passed, ${Math.round(data.details?.duration_ms ?? 0)} ms\n`;
}

function indent(text: string): string {
  return text.trimEnd().split('\n').map((line) => `    ${line}\n`).join('');
}

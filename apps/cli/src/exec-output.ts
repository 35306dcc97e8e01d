import { errorRow, isErrorCode, printable } from '@caisson/contract/errors';
import { EXIT } from '@caisson/contract/light';
import type { ExecInfo, OutputChunk } from '@caisson/sdk';
import { showBytes } from './quantity.ts';
import { note } from './say.ts';

/** The size of the terminal that the standard output is; 80 by 24 where it is none. */
export function terminalSize(): { readonly cols: number; readonly rows: number } {
  const [cols, rows] = process.stdout.isTTY ? process.stdout.getWindowSize() : [80, 24];
  return { cols: Math.min(1_000, Math.max(1, cols)), rows: Math.min(1_000, Math.max(1, rows)) };
}

/** Hands each piece to `take`, and resolves to the end of the exec. */
export async function drain(output: AsyncGenerator<OutputChunk, ExecInfo>, take: (chunk: OutputChunk) => Promise<void>): Promise<ExecInfo> {
  for (let next = await output.next(); ; next = await output.next()) {
    if (next.done === true) return next.value;
    await take(next.value);
  }
}

/** Writes to our own stdout or stderr and waits until it has been taken. */
export async function write(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> {
  await new Promise<void>((done) => void process[stream].write(bytes, () => done()));
}

/** Exit status of an exec that has ended, as that of `run`. */
export function statusOf({ exit }: ExecInfo): number {
  return typeof exit === 'number' ? exit : EXIT.unknown;
}

/** Says on stderr what the exit status alone does not. */
export function explain({ ending, reason, output }: ExecInfo): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const count = output?.[name];
    if (count?.truncated === true) note(`${name} was cut: the command wrote ${showBytes(count.written)}, ${showBytes(count.returned)} were kept (see --output-limit of create)`);
  }
  if (ending === null || ending.kind === 'exited') return;
  const code = 'code' in ending && isErrorCode(ending.code) ? ending.code : null;
  note(`${code === null ? '' : `${code}: `}${printable(reason ?? 'it ended without a reason')}`);
  if (code !== null && !errorRow(code).fix.includes('{')) process.stderr.write(`hint: ${errorRow(code).fix}\n`);
}

import { rm } from 'node:fs/promises';
import { runTool } from './run-tool.ts';

const OUTPUT_BYTES_MAX = 65_536;

/** Removes a folder and all below it; folders of an image may forbid even their owner to write. No link is followed. */
export async function removeTree(path: string): Promise<void> {
  if (process.getuid?.() !== 0) {
    const signal = AbortSignal.timeout(600_000);
    await runTool({ argv: ['/bin/chmod', '-R', 'u+rwX', '--', path], cwd: '/', signal, stdoutBytes: OUTPUT_BYTES_MAX, onLine: () => undefined });
  }
  await rm(path, { recursive: true, force: true });
}

import { readdir, readFile } from 'node:fs/promises';

export interface Left {
  /** Holds one folder for each sandbox that may have left something behind; its file `runtime` says whose that is. */
  readonly sandboxes: string;
  /** The runtime that sweeps. */
  readonly runtime: string;
  /** The ends of processes are waited for side by side: whoever waits for the launcher waits for the slowest, not for all. */
  readonly atOnce: number;
}

/**
 * Releases the sandboxes of a dead launcher.
 *
 * @param release resolves to whether nothing of the sandbox is left
 * @returns the ids of those of which nothing is left
 */
export async function sweepLeft({ sandboxes, runtime, atOnce }: Left, release: (id: string) => Promise<boolean>): Promise<readonly string[]> {
  const swept: string[] = [];
  const left = (await readdir(sandboxes)).values();
  const sweepSome = async (): Promise<void> => {
    for (const id of left) {
      const of = await readFile(`${sandboxes}/${id}/runtime`, 'utf8').catch(() => '');
      // A folder without a readable name was never handed to a runtime; any driver may remove it.
      if (of !== runtime && of !== '') continue;
      if (await release(id)) swept.push(id);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, sweepSome));
  return swept;
}

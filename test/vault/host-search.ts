import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, type Dirent } from 'node:fs';

/** Files below a folder of the host that hold a text. */
export function filesWith(folder: string, text: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return entriesBelow(folder).flatMap((entry) => {
    const path = `${entry.parentPath}/${entry.name}`;
    if (!entry.isFile()) return [];
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined || found.size > 1 << 28) return []; // sandboxes that are kept ready come and go
    return bytesOf(path).includes(text) ? [path] : [];
  });
}

/** What is below a folder in which others work: when a folder goes meanwhile, the walk begins anew. */
export function entriesBelow(folder: string, walks = 20): readonly Dirent[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || walks === 1) throw error;
    return entriesBelow(folder, walks - 1);
  }
}

function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

/** Whether a process of the host has a text in its memory. */
export function memoryHolds(pid: number, text: string): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').some((line) => {
      const [, from = '0', to = '0'] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      for (let at = start; at < end; at += 1 << 24) {
        const piece = Buffer.alloc(Math.min((1 << 24) + 64, end - at)); // pieces overlap by more than the text is long
        try {
          if (piece.subarray(0, readSync(memory, piece, 0, piece.length, at)).includes(text)) return true;
        } catch {
          return false; // not there any more, or no memory
        }
      }
      return false;
    });
  } finally {
    closeSync(memory);
  }
}

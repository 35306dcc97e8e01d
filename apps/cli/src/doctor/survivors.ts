import { readdirSync, readFileSync } from 'node:fs';

/** Attacks on this host that carry a text in their arguments: the probe is called `probe` inside. */
export function survivorsWith(text: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => read(pid, 'comm').trimEnd().endsWith('probe') && read(pid, 'cmdline').includes(text))
    .map(Number);
}

function read(pid: string, file: 'comm' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}

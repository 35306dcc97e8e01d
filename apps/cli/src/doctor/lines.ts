import { printable } from '@caisson/contract/errors';
import type { Observation } from './probe.ts';

const SAW_MAX = 400;

/** Reads the lines of caisson-probe. They may come from inside a sandbox: what is not a line is left out. */
export function parseLines(output: Buffer): ReadonlyMap<string, Observation> {
  const found = new Map<string, Observation>();
  for (const text of output.toString('utf8').split('\n')) {
    const line = parseLine(text);
    if (line !== null && !found.has(line.probe)) found.set(line.probe, line.observation);
  }
  return found;
}

function parseLine(text: string): { readonly probe: string; readonly observation: Observation } | null {
  if (!text.startsWith('{"probe":')) return null;
  try {
    const { probe, through, saw } = JSON.parse(text) as Partial<Record<'probe' | 'through' | 'saw', unknown>>;
    if (typeof probe !== 'string' || typeof saw !== 'string') return null;
    if (typeof through !== 'boolean' && through !== null) return null;
    return { probe, observation: { through, saw: printable(saw.slice(0, SAW_MAX)) } };
  } catch {
    return null;
  }
}

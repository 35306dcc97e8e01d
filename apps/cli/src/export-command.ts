import { once } from 'node:events';
import { CaissonError } from '@caisson/contract';
import type { Line } from '@caisson/evidence';
import { terminalText } from './audit.ts';
import { ocsfEvent } from './export-ocsf.ts';
import { otlpRequest, type Exporting } from './export-otlp.ts';
import { viewShape, viewStart, type Shape } from './export-views.ts';
import { openSource, type SourceFlags } from './log-source.ts';
import { indexOf, judged } from './replay-state.ts';

export interface ExportFlags extends SourceFlags {
  readonly format: string;
  readonly from?: string;
  readonly view?: string;
  readonly follow?: boolean;
}

/** Written at once, in UTF-16 units, where nobody waits for the next entry. */
const PIECE = 64 * 1024;

/** Writes a log, one line for each entry, from any entry on. @returns 0; 1: an entry is bad, and those before it are written. @throws CaissonError USAGE, STATE_DIR_INVALID */
export async function exportCommand(flags: ExportFlags, version: string): Promise<number> {
  const from = indexOf('--from', flags.from) ?? 0;
  using source = await openSource(flags);
  const shape = shapeOf(flags, { origin: source.keys[0]?.name ?? '', version });
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const follow = flags.follow === true;
  const lines = source.lines({ from: viewStart(flags.view, from), follow, signal: stop.signal });
  return await judged({ json: false }, async () => {
    await writeAll(textsOf(lines, shape, from), follow ? 0 : PIECE);
    return 0;
  });
}

function shapeOf({ format, view }: ExportFlags, exporting: Exporting): Shape {
  const shapes: Readonly<Record<string, Shape>> = {
    jsonl: view === undefined ? plainShape : viewShape(view),
    otlp: (line) => JSON.stringify(otlpRequest(line, exporting)),
    ocsf: (line) => JSON.stringify(ocsfEvent(line, exporting)),
  };
  const shape = Object.hasOwn(shapes, format) ? shapes[format] : undefined;
  if (shape === undefined) throw new CaissonError('USAGE', { detail: `--format ${format} is none of ocsf, otlp and jsonl` });
  if (view !== undefined && format !== 'jsonl') throw new CaissonError('USAGE', { detail: `--view ${view} goes with --format jsonl` });
  return shape;
}

/** An entry by itself: its very text, where it is, and the hash of its leaf (RFC 6962 §2.1). */
const plainShape: Shape = ({ entry, text, hash }) => `{"entry":${text},"hash":"${hash}","index":${entry.index}}`;

async function* textsOf(lines: AsyncIterable<Line>, shape: Shape, from: number): AsyncGenerator<string> {
  for await (const line of lines) {
    const text = shape(line);
    if (text !== undefined && line.entry.index >= from) yield `${terminalText(text)}\n`;
  }
}

/** Writes to the standard output, no faster than it is read. What was begun is written, also where the log turns out to be bad. */
async function writeAll(texts: AsyncIterable<string>, piece: number): Promise<void> {
  let waiting = '';
  const write = async (): Promise<void> => {
    const text = waiting;
    waiting = '';
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  };
  try {
    for await (const text of texts) {
      waiting += text;
      if (waiting.length >= piece) await write();
    }
  } finally {
    if (waiting !== '') await write();
  }
}

/** A result of a cell, richer than text where its value is. All of it is what the session claims: show `html` to nobody unescaped. */
export type PythonOutput =
  | { readonly type: 'text'; readonly text: string; readonly truncated: boolean }
  | {
    readonly type: 'table';
    readonly columns: readonly string[];
    readonly index: readonly string[];
    readonly rows: readonly (readonly (string | number | boolean | null)[])[];
    /** Of the whole table, of which at most 1 000 rows and 100 columns are here. */
    readonly totalRows: number;
    readonly totalColumns: number;
    readonly truncated: boolean;
  }
  | { readonly type: 'image'; readonly mime: 'image/png' | 'image/jpeg'; readonly data: string }
  | { readonly type: 'json'; readonly value: unknown }
  | { readonly type: 'html'; readonly html: string; readonly truncated: boolean };

export interface PythonError {
  /** Class of the exception. */
  readonly name: string;
  readonly value: string;
  readonly traceback: string;
}

/** One line of the driver. */
export type Frame =
  | { readonly type: 'ready'; readonly python: string }
  /** From here on an interrupt ends it. */
  | { readonly type: 'begun'; readonly run: number }
  | { readonly type: 'output'; readonly run: number; readonly stream: 'stdout' | 'stderr'; readonly text: string }
  | { readonly type: 'result'; readonly run: number; readonly isLast: boolean; readonly text: string; readonly output: PythonOutput }
  | { readonly type: 'done'; readonly run: number; readonly error: PythonError | null; readonly truncated: boolean; readonly left: number };

type Fields = Readonly<Record<string, unknown>>;

/** What a line says; null for one that is not the driver's. The line is untrusted. */
export function parseFrame(line: string, word: string): Frame | null {
  if (!line.startsWith(`${word} `)) return null;
  const fields = objectOf(jsonOf(line.slice(word.length + 1)));
  if (fields === null) return null;
  const { type, run, text } = fields;
  if (type === 'ready') return typeof fields['python'] === 'string' ? { type, python: fields['python'] } : null;
  if (typeof run !== 'number') return null;
  if (type === 'begun') return { type, run };
  const { stream } = fields;
  if (type === 'output' && (stream === 'stdout' || stream === 'stderr') && typeof text === 'string') return { type, run, stream, text };
  if (type === 'result' && typeof text === 'string') return { type, run, isLast: fields['isLast'] === true, text, output: outputOf(fields['rich']) ?? { type: 'text', text, truncated: fields['truncated'] === true } };
  if (type === 'done') return { type, run, error: errorOf(fields['error']), truncated: fields['truncated'] === true, left: numberOf(fields['left']) };
  return null;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const objectOf = (value: unknown): Fields | null => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

function errorOf(value: unknown): PythonError | null {
  const fields = objectOf(value);
  return fields === null ? null : { name: textOf(fields['name']), value: textOf(fields['value']), traceback: textOf(fields['traceback']) };
}

function outputOf(value: unknown): PythonOutput | null {
  const fields = objectOf(value);
  if (fields === null) return null;
  const truncated = fields['truncated'] === true;
  const { type, mime, data } = fields;
  switch (type) {
    case 'text': return { type, text: textOf(fields['text']), truncated };
    case 'html': return { type, html: textOf(fields['html']), truncated };
    case 'json': return { type, value: fields['value'] };
    case 'image': return (mime === 'image/png' || mime === 'image/jpeg') && typeof data === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(data) ? { type, mime, data } : null;
    case 'table': return tableOf(fields, truncated);
    default: return null;
  }
}

function tableOf(fields: Fields, truncated: boolean): PythonOutput | null {
  const { columns, index, rows } = fields;
  if (!isTexts(columns) || !isTexts(index) || !Array.isArray(rows)) return null;
  const isRow = (row: unknown): row is (string | number | boolean | null)[] =>
    Array.isArray(row) && row.length === columns.length && row.every((cell) => cell === null || ['string', 'number', 'boolean'].includes(typeof cell));
  return rows.every(isRow) ? { type: 'table', columns, index, rows, totalRows: numberOf(fields['totalRows']), totalColumns: numberOf(fields['totalColumns']), truncated } : null;
}

const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((item) => typeof item === 'string');

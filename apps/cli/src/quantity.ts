import { CaissonError } from '@caisson/contract/errors';

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1, k: 1e3, m: 1e6, g: 1e9, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30,
};
const TIME_UNITS_MS: Readonly<Record<string, number>> = { ms: 1, '': 1_000, s: 1_000, m: 60_000, h: 3_600_000 };

function parse(option: string, text: string, units: Readonly<Record<string, number>>, example: string): number {
  const [, count = '', unit = ''] = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(text.trim()) ?? [];
  const name = unit.toLowerCase();
  const value = count !== '' && Object.hasOwn(units, name) ? Math.round(Number(count) * (units[name] ?? Number.NaN)) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new CaissonError('USAGE', { detail: `${option}: ${text} is not a quantity such as ${example}` });
  return value;
}

/** `512Mi`, `1.5G` or plain bytes, to bytes. @throws CaissonError USAGE */
export function parseBytes(option: string, text: string): number {
  return parse(option, text, SIZE_UNITS, '512Mi or 1G');
}

/** `30s`, `500ms`, `5m`, `1h` or plain seconds, to milliseconds. @throws CaissonError USAGE */
export function parseDurationMs(option: string, text: string): number {
  return parse(option, text, TIME_UNITS_MS, '30s or 5m');
}

/** `0.5` or `2` cores, to thousandths. @throws CaissonError USAGE */
export function parseCpuMillis(option: string, text: string): number {
  return parse(option, text, { '': 1_000 }, '0.5 or 2');
}

/** @throws CaissonError USAGE */
export function parseCount(option: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CaissonError('USAGE', { detail: `${option}: ${text} is not a whole number` });
  return Number(text);
}

const BYTE_STEPS = [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']] as const;

export function showBytes(bytes: number): string {
  const [factor, unit] = BYTE_STEPS.find(([step]) => bytes >= step) ?? [1, 'bytes'];
  return `${factor === 1 ? bytes : Math.round((bytes / factor) * 10) / 10} ${unit}`;
}

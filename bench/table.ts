import { barText, isMet, quantile, type Measured, type Row } from './rows.ts';

/** One row and its peers, with the ratio of each median to ours. */
export function measuredText(measured: Measured): string {
  const { row, caisson, peers } = measured;
  const ours = quantile(caisson, 0.5);
  const lines = Object.entries(peers).map(([name, samples]) => line(name, samples, `${(quantile(samples, 0.5) / ours).toFixed(2)} ×`));
  return [
    `${row.metric} (${row.unit})  bar ${barText(row)}: ${isMet(measured) ? 'met' : 'NOT MET'}`,
    `  ${'who'.padEnd(10)}${'p50'.padStart(10)}${'p95'.padStart(10)}${'to ours'.padStart(10)}${'n'.padStart(8)}`,
    line('caisson', caisson, ''),
    ...lines,
    '',
  ].join('\n');
}

export function pendingText(row: Row, why: string): string {
  return `${row.metric} (${row.unit})  bar ${barText(row)}: pending, ${why}\n`;
}

function line(name: string, samples: readonly number[], ratio: string): string {
  const cell = (value: number): string => (value >= 1000 ? value.toFixed(0) : value.toFixed(2)).padStart(10);
  return `  ${name.padEnd(10)}${cell(quantile(samples, 0.5))}${cell(quantile(samples, 0.95))}${ratio.padStart(10)}${String(samples.length).padStart(8)}`;
}

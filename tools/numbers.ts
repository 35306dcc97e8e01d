import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { barText, isMet, quantile, ROWS, type Row } from '../bench/rows.ts';

interface Kept {
  readonly started: string;
  readonly host: { readonly kernel: string; readonly cpus: number; readonly node: string };
  readonly rows: readonly { readonly id: string; readonly caisson: readonly number[]; readonly peers: Readonly<Record<string, readonly number[]>> }[];
}

/** The newest run that is kept, or nothing. */
function newest(root: string): { readonly name: string; readonly kept: Kept } | undefined {
  const name = globSync('bench/results/*.json', { cwd: root }).toSorted().at(-1);
  return name === undefined ? undefined : { name, kept: JSON.parse(readFileSync(join(root, name), 'utf8')) as Kept };
}

const show = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function rowText(row: Row, kept: Kept | undefined): string {
  const found = kept?.rows.find(({ id }) => id === row.id);
  if (found === undefined) return `| ${row.metric} | ${barText(row)} | *pending* | |`;
  const { caisson, peers } = found;
  const ours = caisson.length === 1 ? show(quantile(caisson, 0.5)) : `${show(quantile(caisson, 0.5))} / ${show(quantile(caisson, 0.95))}`;
  const others = Object.entries(peers).map(([name, samples]) => `${name} ${show(quantile(samples, 0.5))}`).join(', ');
  const met = isMet({ row, caisson, peers }) ? '' : ' **not met**';
  return `| ${row.metric} | ${barText(row)} | ${ours} ${row.unit}${met} | ${others} |`;
}

/** The table of numbers, made from the newest kept run of the bench. */
export function numbersTable(root: string): string {
  const run = newest(root);
  const { kept } = run ?? {};
  const origin = kept === undefined ? 'No run is kept.' : `From [${run?.name}](${run?.name}): kernel ${kept.host.kernel}, ${kept.host.cpus} cores, Node ${kept.host.node}.`;
  return [
    `${origin} Written by \`./dev generate\`; each row is measured by \`./dev bench\`.`,
    '',
    '| metric | bar | measured, p50 / p95 | peers in the same run, p50 |',
    '|---|---|---|---|',
    ...ROWS.map((row) => rowText(row, kept)),
  ].join('\n');
}

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { barText, isMet, quantile, ROWS, type Row } from '../bench/rows.ts';

interface Kept {
  readonly started: string;
  readonly host: { readonly kernel: string; readonly cpus: number; readonly node: string };
  readonly rows: readonly { readonly id: string; readonly caisson: readonly number[]; readonly peers: Readonly<Record<string, readonly number[]>> }[];
}

/** What else is kept: names begin with its kind and go on with the moment, as those of runs begin with the moment. */
interface Curve {
  readonly points: readonly { readonly live: number; readonly memoryMib: number; readonly createP95Ms: number; readonly execP95Ms: number }[];
}

interface Soak {
  readonly operations: number;
  readonly cut: number;
  readonly mostLive: number;
  readonly durationMs: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly mismatch: string | null;
}

interface Cycles {
  readonly cycles: number;
  readonly durationMs: number;
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
}

interface Kills {
  readonly kills: number;
  readonly wrong: number;
  readonly runs: readonly { readonly kills: Readonly<Record<string, number>>; readonly entries: number; readonly checkpoints: number; readonly counted: Readonly<Record<string, number>> }[];
}

/** The newest file of a kind that is kept, or nothing. */
function newest(root: string, pattern: string): Found<unknown> {
  const name = globSync(`bench/results/${pattern}.json`, { cwd: root }).toSorted().at(-1);
  return name === undefined ? undefined : { name, kept: JSON.parse(readFileSync(join(root, name), 'utf8')) as unknown };
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
  const run = newest(root, '[0-9]*') as Found<Kept>;
  const { kept } = run ?? {};
  const origin = kept === undefined ? 'No run is kept.' : `From [${run?.name}](${run?.name}): kernel ${kept.host.kernel}, ${kept.host.cpus} cores, Node ${kept.host.node}.`;
  return [
    `${origin} Written by \`./dev generate\`; each row is measured by \`./dev bench\`.`,
    '',
    '| metric | bar | measured, p50 / p95 | peers in the same run, p50 |',
    '|---|---|---|---|',
    ...ROWS.map((row) => rowText(row, kept)),
    '',
    ...curveText(newest(root, 'curve-*') as Found<Curve>),
    ...soakText(newest(root, 'soak-*') as Found<Soak>),
    ...cyclesText(newest(root, 'cycles-*') as Found<Cycles>),
    ...killsText(newest(root, 'kills-*') as Found<Kills>),
  ].join('\n');
}

type Found<Kind> = { readonly name: string; readonly kept: Kind } | undefined;

function curveText(found: Found<Curve>): readonly string[] {
  if (found === undefined) return ['- What one more sandbox costs when many are live (`./dev bench curve`): *pending*.'];
  const points = found.kept.points.map(({ live, memoryMib, createP95Ms, execP95Ms }) => `${live} live: ${show(memoryMib)} MiB each, ${show(createP95Ms)} ms, ${show(execP95Ms)} ms`);
  return [`- What one more sandbox costs ([drawn](${found.name.replace(/json$/, 'svg')}), \`./dev bench curve\`), with p95 of create → first exec, cold, and of an exec: ${points.join('; ')}.`];
}

function soakText(found: Found<Soak>): readonly string[] {
  if (found === undefined) return ['- Random operations beside a model (`./dev soak`): *pending*.'];
  const { operations, cut, mostLive, durationMs, kills, mismatch } = found.kept;
  const killed = Object.entries(kills).map(([role, count]) => `${count} of ${role}`).join(', ');
  const end = mismatch === null ? 'model and instance were equal' : '**model and instance differed**';
  return [`- ${operations} random operations over up to ${mostLive} sandboxes in ${Math.round(durationMs / 60_000)} min, with kills (${killed}) that cut off ${cut} of them: ${end} ([${found.name}](${found.name}), \`./dev soak\`).`];
}

function cyclesText(found: Found<Cycles>): readonly string[] {
  if (found === undefined) return ['- Create, exec, close, a thousand times (`./dev soak --cycles 1000`): *pending*.'];
  const { cycles, durationMs, before, after } = found.kept;
  return [`- ${cycles} times create, exec, close in ${Math.round(durationMs / 1000)} s ([${found.name}](${found.name}), \`./dev soak --cycles ${cycles}\`): before \`${JSON.stringify(before)}\`, after \`${JSON.stringify(after)}\`.`];
}

function killsText(found: Found<Kills>): readonly string[] {
  if (found === undefined) return ['- Kills at random points between intent, effect and outcome (`./dev kills`): *pending*.'];
  const { name, kept: { kills, wrong, runs } } = found;
  const sumOf = (pick: (run: Kills['runs'][number]) => number): number => runs.reduce((total, run) => total + pick(run), 0);
  const roles = Object.keys(runs[0]?.kills ?? {}).map((role) => `${sumOf((run) => run.kills[role] ?? 0)} of ${role}`).join(', ');
  const effects = sumOf(({ counted }) => Object.entries(counted).reduce((sum, [end, count]) => (end.includes('effect') || end.includes('again') ? sum + count : sum), 0));
  const end = wrong === 0 ? 'nothing was without its intent, lost or doubled' : `**${wrong} were wrong**`;
  return [`- ${kills} times \`kill -9\` (${roles}) at random points of ${effects} commands: ${end}, and ${sumOf(({ checkpoints }) => checkpoints)} checkpoints over ${sumOf(({ entries }) => entries)} entries led to the state of a clean replay ([${name}](${name}), \`./dev kills\`).`];
}

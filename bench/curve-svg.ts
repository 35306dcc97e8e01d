/** What was measured while so many sandboxes were live. */
export interface Point {
  readonly live: number;
  /** Memory of the whole host, per sandbox. */
  readonly memoryMib: number;
  readonly createP95Ms: number;
  readonly execP95Ms: number;
  readonly create: readonly number[];
  readonly exec: readonly number[];
}

const WIDTH = 720;
const PANEL = 170;
const LEFT = 80;
const RIGHT = 40;
const TOP = 46;
const COLOURS = ['#3b6ea5', '#b5533c', '#4a8c5c'];

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly of: (point: Point) => number;
}

const PANELS: readonly Panel[] = [
  { title: 'memory of the host, per live sandbox', unit: 'MiB', of: ({ memoryMib }) => memoryMib },
  { title: 'create → first exec, cold, p95', unit: 'ms', of: ({ createP95Ms }) => createP95Ms },
  { title: 'exec round trip, p95', unit: 'ms', of: ({ execP95Ms }) => execP95Ms },
];

/** Three panels over the number of live sandboxes, on a logarithmic axis. Pure. */
export function drawCurve(points: readonly Point[], subtitle: string): string {
  const height = TOP + PANELS.length * PANEL + 30;
  const panels = PANELS.map((panel, index) => drawPanel(panel, points, TOP + index * PANEL, COLOURS[index] ?? '#000')).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="20" font-size="15" font-weight="bold">What one more sandbox costs</text>
<text x="${LEFT}" y="36" fill="#555">${subtitle}</text>
${panels}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 8}" text-anchor="middle" fill="#555">live sandboxes</text>
</svg>
`;
}

function drawPanel({ title, unit, of }: Panel, points: readonly Point[], top: number, colour: string): string {
  const most = Math.max(...points.map(of)) * 1.15 || 1;
  const bottom = top + PANEL - 40;
  const logMost = Math.log10(Math.max(10, ...points.map(({ live }) => live)));
  const x = (live: number): number => LEFT + (Math.log10(live) / logMost) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => bottom - (value / most) * (bottom - top - 22);
  const line = points.map((point) => `${x(point.live).toFixed(1)},${y(of(point)).toFixed(1)}`).join(' ');
  const marks = points.map((point) => `<circle cx="${x(point.live).toFixed(1)}" cy="${y(of(point)).toFixed(1)}" r="4" fill="${colour}"/>
<text x="${x(point.live).toFixed(1)}" y="${(y(of(point)) - 9).toFixed(1)}" text-anchor="middle">${of(point).toFixed(2)}</text>
<text x="${x(point.live).toFixed(1)}" y="${bottom + 15}" text-anchor="middle" fill="#555">${point.live}</text>`).join('\n');
  return `<text x="${LEFT}" y="${top + 10}" font-weight="bold">${title} (${unit})</text>
<line x1="${LEFT}" y1="${bottom}" x2="${WIDTH - RIGHT}" y2="${bottom}" stroke="#999"/>
<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>
${marks}`;
}

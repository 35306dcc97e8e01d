import type { GateGround } from '@caisson/runtime';
import { openGround, specFor } from './given.ts';

/** A launcher to be killed: opens a ground, starts two sandboxes with a command each, linked to a gate where one is named, says their ids and waits. */
const [runtime = '', base = '', gate] = process.argv.slice(2);
const ground = await openGround(runtime, { base, ...(gate !== undefined && { gate: JSON.parse(gate) as GateGround }) });
const network = gate === undefined ? 'none' : 'gate';
const specs = [specFor(ground.host), specFor(ground.host)].map((spec) => ({ ...spec, network }) as const);
for (const spec of specs) {
  const machine = await ground.driver.launch(spec, { signal: new AbortController().signal });
  machine.spawn({ argv: ['sh', '-c', 'trap "" TERM HUP; sleep 600 & wait'], env: ['PATH=/usr/bin:/bin'], cwd: '/tmp', stdin: false, outputBytes: 1 }, { onOutput: async () => undefined });
}
process.send?.(specs.map(({ id }) => id));
setInterval(() => undefined, 1_000);

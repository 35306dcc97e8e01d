import { openGround, specFor } from './given.ts';

/** A launcher to be killed: opens a ground, starts two sandboxes with a command each, says their ids and waits. */
const [runtime = '', base = ''] = process.argv.slice(2);
const ground = await openGround(runtime, { base });
const specs = [specFor(ground.host), specFor(ground.host)];
for (const spec of specs) {
  const machine = await ground.driver.launch(spec, { signal: new AbortController().signal });
  machine.spawn({ argv: ['sh', '-c', 'trap "" TERM HUP; sleep 600 & wait'], env: ['PATH=/usr/bin:/bin'], cwd: '/tmp', stdin: false, outputBytes: 1 }, { onOutput: async () => undefined });
}
process.send?.(specs.map(({ id }) => id));
setInterval(() => undefined, 1_000);

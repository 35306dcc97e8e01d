import { openGround, specFor } from '../drivers/given.ts';
import { start } from './given.ts';

/** A launcher to be killed: starts a sandbox, then saves its memory again and again, saying when it begins each. */
const [base = '', folder = ''] = process.argv.slice(2);
const ground = await openGround('runsc', { base });
const machine = await ground.driver.launch(specFor(ground.host), { signal: new AbortController().signal });
const { output } = start(machine, 'memory', ['python3', '-uc', 'import os, time\nx = os.urandom(32 << 20)\nprint("up")\ntime.sleep(600)']);
await output.reach(1);
for (let index = 0; ; index++) {
  process.send?.(index);
  await machine.checkpoint?.(`${folder}/${index}`);
}

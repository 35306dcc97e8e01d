/** Does one random thing after another to a store until it is killed; tells before and after each. */
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs';
import { openWorkspaces } from '@caisson/workspace';
import { AGENT, SMALL } from './given.ts';

export interface Step {
  readonly op: 'create' | 'write' | 'snapshot' | 'fork' | 'restore' | 'remove' | 'removeLayer';
  readonly id: string;
  readonly layer?: string;
  readonly value?: string;
}

const [dir = '', mounts = '', tool = '', seedText = '1'] = process.argv.slice(2);
let seed = Number(seedText);
/** A number below `most` (an LCG of Numerical Recipes: the trial is repeatable). */
function random(most: number): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((seed / 2 ** 32) * most);
}
const fresh = (kind: string): string => `${kind}-${seed.toString(36).padStart(8, '0')}${random(2 ** 31).toString(36).padStart(8, '0')}`.slice(0, 20);
const say = (word: object): void => void writeSync(1, `${JSON.stringify(word)}\n`);

await using store = await openWorkspaces({ dir, mounts, tool, now: Date.now, reserveBytes: 0 });
say({ ready: true });
for (;;) {
  const step = choose();
  say({ start: step });
  await carryOut(step).catch((error: unknown) => {
    console.error(step, error);
    process.exit(9);
  });
  say({ done: step });
}

function choose(): Step {
  const all = store.list().map(({ id }) => id);
  const layers = store.layers().map(({ id }) => id);
  const id = all[random(all.length)];
  const layer = layers[random(layers.length)];
  const dice = random(12);
  if (id === undefined || (dice < 2 && all.length < 5)) return { op: 'create', id: fresh('wsp') };
  if (dice < 6) return { op: 'write', id, value: String(random(1e9)) };
  if ((dice < 8 && layers.length < 5) || layer === undefined) return { op: 'snapshot', id, layer: fresh('lay') };
  if (dice < 9 && all.length < 5) return { op: 'fork', id: fresh('wsp'), layer };
  if (dice < 10) return { op: 'restore', id, layer };
  return dice < 11 ? { op: 'remove', id } : { op: 'removeLayer', id, layer };
}

async function carryOut({ op, id, layer = '', value = '' }: Step): Promise<void> {
  switch (op) {
    case 'create': return void (await store.create({ id, ...SMALL }));
    case 'fork': return void (await store.fork(layer, { id }));
    case 'restore': return store.restore(id, layer);
    case 'remove': return store.remove(id);
    case 'removeLayer': return store.removeLayer(layer);
    case 'snapshot': {
      const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx' });
      await store.snapshot(id, { layer });
      return attached.detach();
    }
    case 'write': {
      const attached = await store.attach(id, { hostUid: AGENT, sandbox: 'sbx' });
      asOwner(() => writeValue(`${attached.path}/v`, value));
      await attached.detach();
    }
  }
}

/** Nobody but the owner can make a file in a workspace: root has no id there. */
function asOwner(work: () => void): void {
  process.setegid?.(AGENT);
  process.seteuid?.(AGENT);
  try {
    work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** Ten digits, in place where there are some: one block, which is either written or not. */
function writeValue(file: string, value: string): void {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o600);
  writeSync(fd, value.padStart(10, '0'), 0);
  fsyncSync(fd);
  closeSync(fd);
}

import { readdir, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { removeDurably, removeIfThere, writeWhole } from './durable.ts';

const WORKSPACE_ID = /^wsp-[0-9a-z]{16}$/;
const LAYER_ID = /^lay-[0-9a-z]{16}$/;
const IMAGE = /^(?:wsp|lay)-[0-9a-z]{16}\.[0-9]{1,15}\.img$/;

const Count = z.int().min(0);
const Layer = z.strictObject({
  version: z.literal(1),
  kind: z.literal('layer'),
  id: z.string().regex(LAYER_ID),
  image: z.string().regex(IMAGE),
  workspace: z.string().regex(WORKSPACE_ID).nullable(),
  /** Which content of the workspace it is of: a restore begins another. */
  generation: Count,
  parent: z.string().regex(LAYER_ID).nullable(),
  createdMs: Count,
  sizeBytes: Count,
  inodes: Count,
  label: z.string().max(256).nullable(),
});
const Workspace = z.strictObject({
  version: z.literal(1),
  kind: z.literal('workspace'),
  id: z.string().regex(WORKSPACE_ID),
  image: z.string().regex(IMAGE),
  name: z.string().nullable(),
  generation: Count,
  parent: z.string().regex(LAYER_ID).nullable(),
  createdMs: Count,
  sizeBytes: Count,
  inodes: Count,
});

export type LayerRecord = Readonly<z.infer<typeof Layer>>;
export type WorkspaceRecord = Readonly<z.infer<typeof Workspace>>;
type AnyRecord = LayerRecord | WorkspaceRecord;

export function isWorkspaceId(id: string): boolean {
  return WORKSPACE_ID.test(id);
}

export function isLayerId(id: string): boolean {
  return LAYER_ID.test(id);
}

export function imageOf(id: string, generation: number): string {
  return `${id}.${generation}.img`;
}

/** A record that stands in a file of that name; undefined when it is not one. */
function parseRecord(name: string, text: string): AnyRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = z.union([Workspace, Layer]).safeParse(value);
  return parsed.success && `${parsed.data.id}.json` === name ? parsed.data : undefined;
}

/**
 * What there is: one small file each, which is the commit point of every change. An image that no record names is garbage; a
 * record without its image is damage, and is told.
 */
export class Records {
  readonly #folder: string;
  readonly #passing = new Set<string>();
  readonly workspaces = new Map<string, WorkspaceRecord>();
  readonly layers = new Map<string, LayerRecord>();
  /** Files that should be records and cannot be read. Nothing is collected while there are any: what they name is unknown. */
  readonly unreadable: string[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (name.endsWith('.new')) {
        await removeIfThere(`${this.#folder}/${name}`);
        continue;
      }
      const record = parseRecord(name, await readFile(`${this.#folder}/${name}`, 'utf8'));
      if (record === undefined) this.unreadable.push(name);
      else this.#keep(record);
    }
  }

  #keep(record: AnyRecord): void {
    if (record.kind === 'layer') this.layers.set(record.id, record);
    else this.workspaces.set(record.id, record);
  }

  /** Durable when it resolves, but for one that is passing. */
  async write(record: AnyRecord): Promise<void> {
    if (!this.#passing.has(record.id)) await writeWhole(`${this.#folder}/${record.id}.json`, `${JSON.stringify(record)}\n`);
    this.#keep(record);
  }

  /** Known for as long as this process is, and not on disk. */
  keepPassing(record: WorkspaceRecord): void {
    this.#passing.add(record.id);
    this.workspaces.set(record.id, record);
  }

  isPassing(id: string): boolean {
    return this.#passing.has(id);
  }

  async remove(record: AnyRecord): Promise<void> {
    if (!this.#passing.delete(record.id)) await removeDurably(`${this.#folder}/${record.id}.json`);
    this.workspaces.delete(record.id);
    this.layers.delete(record.id);
  }

  images(): ReadonlySet<string> {
    return new Set([...this.workspaces.values(), ...this.layers.values()].map(({ image }) => image));
  }
}

/**
 * Since when `to` differs from its ancestor `from`, in ms; null when it does not descend from it, or nobody can say.
 * What stands below was last changed before that time and is therefore the same in both.
 */
export function partedMs(from: string, to: string, { workspaces, layers }: Pick<Records, 'workspaces' | 'layers'>): number | null {
  const ancestor = layers.get(from);
  if (ancestor === undefined) return null;
  let at: AnyRecord | undefined = workspaces.get(to) ?? layers.get(to);
  for (let steps = 0; at !== undefined && steps <= layers.size; steps++) {
    if (at.id === ancestor.id) return ancestor.createdMs;
    const line = at.kind === 'workspace' ? at.id : at.workspace;
    const later = at.kind === 'workspace' || at.createdMs >= ancestor.createdMs;
    if (ancestor.workspace !== null && line === ancestor.workspace && at.generation === ancestor.generation && later) return ancestor.createdMs;
    at = at.parent === null ? undefined : layers.get(at.parent);
  }
  return null;
}

import { canonicalJson, type Entry, type EntryDraft, type Receipt, type Sealed } from '@caisson/contract';
import { formatCheckpoint, grow, leafHash, rootOf, signNote, type Edge, type Signer } from '@caisson/tlog';
import { stepAlert, type ClockStep } from './clock.ts';
import { encodeEntry } from './entry.ts';
import type { Leaf } from './growth.ts';
import { rotationDraft } from './rotation.ts';

const NEWLINE = Buffer.from('\n');

/** An entry that waits to be written. */
export interface Pending {
  readonly draft: Omit<EntryDraft, 'secret'>;
  readonly bodyText: string;
  readonly sealed: Sealed | undefined;
  /** Takes over as the signer with this entry, which is made when its place is known. */
  readonly next?: Signer;
  /** About how many it will be in the file. */
  readonly bytes: number;
  readonly settle: PromiseWithResolvers<Receipt>;
}

/** A batch as it goes to the journal: its entries, and the head after the last of them. */
interface Encoded {
  readonly bytes: Buffer;
  readonly leaves: readonly Leaf[];
  readonly entries: readonly Entry[];
  /** After each entry. */
  readonly edges: readonly Edge[];
  readonly receipts: readonly Receipt[];
  readonly edge: Edge;
  readonly checkpoint: string;
}

export async function encodeBatch(batch: readonly Pending[], { edge: from, signer, now }: { readonly edge: Edge; readonly signer: Signer; readonly now: () => number }): Promise<Encoded> {
  let edge = from;
  const leaves: Leaf[] = [];
  const entries: Entry[] = [];
  const edges: Edge[] = [];
  for (const { draft: asked, bodyText, sealed, next } of batch) {
    const draft = next === undefined ? asked : await rotationDraft(edge, signer, next);
    const written: Entry = { ...draft, index: edge.size, timeMs: Math.trunc(now()), ...(sealed === undefined ? {} : { sealed }) };
    const entry = Buffer.from(encodeEntry(written, next === undefined ? bodyText : canonicalJson(draft.body)));
    const hash = leafHash(entry);
    edge = grow(edge, hash);
    leaves.push({ entry, hash });
    entries.push(written);
    edges.push(edge);
  }
  const last = signerAfter(batch, signer);
  const roots = edges.map(rootOf);
  const text = formatCheckpoint({ origin: last.publicKey.name, size: edge.size, root: roots.at(-1) ?? rootOf(edge) });
  const checkpoint = await signNote(text, [last]);
  const bytes = Buffer.concat([...leaves.flatMap(({ entry }) => [entry, NEWLINE]), Buffer.from(`${JSON.stringify(checkpoint)}\n`)]);
  const receipts = roots.map((root, at): Receipt => ({ index: from.size + at, hash: root.toString('hex') }));
  return { bytes, leaves, entries, edges, receipts, edge, checkpoint };
}

/** One that takes over is the last of its batch. */
export function signerAfter(batch: readonly Pending[], signer: Signer): Signer {
  return batch.at(-1)?.next ?? signer;
}

/** That the clock was set, to stand before what is dated by it. */
export function pendingAlert(step: ClockStep): Pending {
  const draft = stepAlert(step);
  return { draft, bodyText: canonicalJson(draft.body), sealed: undefined, bytes: 0, settle: Promise.withResolvers<Receipt>() };
}

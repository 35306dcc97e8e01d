import type { Alert } from '@caisson/contract';
import { openNote, rootOf, sha256, signNote, type Edge, type PublicKey, type Signer } from '@caisson/tlog';
import { folderFetch, OWNER_ONLY, writeFiles } from './folder.ts';
import { emptyLedger, type Ledger, type Mark } from './ledger.ts';

/** What the scribe keeps for itself to start from. It is not part of what is published. */
export const LEDGER_FILE = 'ledger';
/** No checkpoint begins like this: its second line is a count (C2SP tlog-checkpoint, Note text). So neither passes for the other. */
const HEADER = 'caisson ledger v1';

/** The ledger at one size of the log. */
export interface SavedLedger {
  readonly size: number;
  readonly root: Buffer;
  readonly ledger: Ledger;
}

/** The text of a ledger at an edge: a line of names, and where each stands. */
export function ledgerText({ open, closed, told, alerts }: Ledger): string {
  const places = (marks: Map<string, Mark>): unknown => [...marks].map(([name, { size }]) => [name, size]);
  return JSON.stringify({ alerts, closed: [...closed].map(([name, { intent, outcome }]) => [name, intent.size, outcome.size]), open: places(open), told: places(told) });
}

/**
 * Puts the ledger beside the log, in place of the one before, for its owner alone: a line with a note that the key of the log
 * has signed over the log, its size, its root and the hash of the other line, which is the ledger.
 *
 * @param text of `ledgerText` at this edge
 */
export async function saveLedger(dir: string, { edge, text, signer }: { readonly edge: Edge; readonly text: string; readonly signer: Signer }): Promise<void> {
  const said = [HEADER, signer.publicKey.name, String(edge.size), rootOf(edge).toString('hex'), sha256(Buffer.from(text)).toString('hex')];
  const note = await signNote(said.map((line) => `${line}\n`).join(''), [signer]);
  await writeFiles(dir, [{ path: LEDGER_FILE, bytes: Buffer.from(`${JSON.stringify(note)}\n${text}\n`) }], OWNER_ONLY);
}

/** The ledger beside the log; null: there is none that one of the keys has signed for this log. */
export async function savedLedger(dir: string, keys: readonly PublicKey[]): Promise<SavedLedger | null> {
  try {
    const [noteText = '', text = '', end, ...more] = ((await folderFetch(dir)(LEDGER_FILE))?.toString('utf8') ?? '').split('\n');
    if (end !== '' || more.length > 0) return null;
    const note = openNote(Buffer.from(JSON.parse(noteText) as string), keys);
    if ('bad' in note) return null;
    const [header, origin, size, root = '', hash, ...rest] = note.text.split('\n');
    if (header !== HEADER || !note.signers.some(({ name }) => name === origin) || rest.join() !== '') return null;
    if (sha256(Buffer.from(text)).toString('hex') !== hash) return null;
    return { size: Number(size), root: Buffer.from(root, 'hex'), ledger: parseLedger(text) };
  } catch {
    return null; // whatever it is, it is no ledger: the log says what is true
  }
}

interface LedgerJson {
  readonly alerts: readonly Alert[];
  readonly closed: readonly (readonly [string, number, number])[];
  readonly open: readonly (readonly [string, number])[];
  readonly told: readonly (readonly [string, number])[];
}

/** Reads what `ledgerText` gave. @throws for anything else */
function parseLedger(text: string): Ledger {
  const { alerts, closed, open, told } = JSON.parse(text) as LedgerJson;
  const ledger = { ...emptyLedger(), alerts: [...alerts] };
  for (const [name, size] of open) ledger.open.set(name, { size });
  for (const [name, size] of told) ledger.told.set(name, { size });
  for (const [name, intent, outcome] of closed) ledger.closed.set(name, { intent: { size: intent }, outcome: { size: outcome } });
  return ledger;
}

import { CaissonError, type Entry } from '@caisson/contract';
import { readEntries, verifyLog } from '@caisson/evidence';
import { emptyState, foldAll, type State } from '@caisson/projection';
import { EMPTY_EDGE, grow, rootOf, type Edge, type PublicKey } from '@caisson/tlog';
import { instancePaths } from './client.ts';
import { keysOf } from './log-source.ts';
import { parseCount } from './quantity.ts';
import { jsonText, print, told } from './say.ts';

/** How many entries are folded in one go. */
const BATCH = 1_000;

/** Flags of every command that reads a log. */
export interface LogFlags {
  /** Folder of the log. Default: that of the instance. */
  readonly dir?: string;
  readonly json?: boolean;
}

/** Flags of those that trust keys which the reader has from elsewhere. */
export interface TrustFlags extends LogFlags {
  /** Verifier keys of the log, or files of such. Default: those that stand beside it, as in `audit verify`. */
  readonly key?: readonly string[] | undefined;
}

export const logDir = ({ dir }: LogFlags): string => dir ?? instancePaths().evidence;

/** The keys that a reader trusts; undefined: those beside the log. @throws CaissonError USAGE for a text that is no key and no file of keys */
export function trustedKeys({ key }: TrustFlags): readonly PublicKey[] | undefined {
  return key?.flatMap(keysOf);
}

export interface Replayed {
  readonly state: State;
  /** Root of the log at the last entry (RFC 6962 §2.1), hex; null: no entry was read. */
  readonly root: string | null;
}

/** Entries of a log that is good as a whole: the state and the pointers of one that was changed say nothing. @throws CaissonError STATE_DIR_INVALID, EVIDENCE_DAMAGED */
export async function* goodEntries(dir: string, keys?: readonly PublicKey[]): AsyncGenerator<{ readonly entry: Entry; readonly hash: string }> {
  const { bad } = await verifyLog(dir, { keys });
  if (bad !== null) throw new CaissonError('EVIDENCE_DAMAGED', { index: bad.index, detail: bad.reason });
  yield* readEntries(dir);
}

/**
 * Folds the log of a folder, from its first entry to that of index `until`, or to its end.
 *
 * @param keys of the log; by default those that stand beside it
 * @throws CaissonError STATE_DIR_INVALID, EVIDENCE_DAMAGED
 */
export async function replayLog(dir: string, { until = Number.MAX_SAFE_INTEGER, keys }: { readonly until?: number | undefined; readonly keys?: readonly PublicKey[] | undefined } = {}): Promise<Replayed> {
  let state = emptyState();
  let edge: Edge = EMPTY_EDGE;
  let batch: Entry[] = [];
  for await (const { entry, hash } of goodEntries(dir, keys)) {
    mustFollow(entry, state.entries + batch.length);
    if (entry.index > until) break;
    batch.push(entry);
    edge = grow(edge, Buffer.from(hash, 'hex'));
    if (batch.length === BATCH) {
      state = foldAll(state, batch);
      batch = [];
    }
  }
  return { state: foldAll(state, batch), root: edge.size === 0 ? null : rootOf(edge).toString('hex') };
}

function mustFollow({ index }: Entry, next: number): void {
  if (index !== next) throw new CaissonError('EVIDENCE_DAMAGED', { index, detail: `entry ${next} would follow` });
}

/** An index that a flag names. @throws CaissonError USAGE */
export function indexOf(option: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseCount(option, text);
}

/** Replays the log of the flags up to an entry that has to be there. @throws CaissonError USAGE where the log ends before it */
export async function replayTo(flags: TrustFlags, option: string, until: number | undefined): Promise<Replayed> {
  const replayed = await replayLog(logDir(flags), { until, keys: trustedKeys(flags) });
  if (until !== undefined && replayed.state.entries <= until) throw new CaissonError('USAGE', { detail: `${option} ${until}: the log has ${replayed.state.entries} entries` });
  return replayed;
}

/** Exit status of what judges evidence: evidence that cannot be read whole is bad (1), as is what the work finds. */
export async function judged({ json }: LogFlags, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CaissonError) || error.code !== 'EVIDENCE_DAMAGED') throw error;
    const { code, message, hint } = told(error);
    if (json === true) print(`${jsonText({ problem: { code, message, hint } })}\n`);
    else process.stderr.write(`caisson: ${code}: ${message}\nhint: ${hint}\n`);
    return 1;
  }
}

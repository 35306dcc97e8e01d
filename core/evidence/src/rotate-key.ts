import type { PublicKey, Signer } from '@caisson/tlog';
import { GROUP_TOO, OWNER_ONLY } from './folder.ts';
import { signerIn, writePublicKey } from './keys.ts';
import { dropNext, installNext, lockKeys, makeNext, settleRotation } from './next-key.ts';
import { openFileLog, type FileLogOptions } from './open.ts';

export interface RotateOptions {
  /** The evidence directory; its key is in the folder beside it. */
  readonly dir: string;
  /** The same directory as the work in it names it. Default: `dir`. */
  readonly logDir?: string | undefined;
  /** Whether the group of the directory reads what is published. Default: nobody else reads. */
  readonly groupReads?: boolean | undefined;
  /** Wall time, in milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Clocks that nobody sets, as for `openFileLog`: where the clock was set back since the last entry, an alert says so first. Default: none. */
  readonly clocks?: FileLogOptions['clocks'];
  /** Does what writes in the log as the user whose files they are. Default: as this one. */
  readonly asOwner?: (<T>(work: () => Promise<T>) => Promise<T>) | undefined;
  /** Told after each step. A test ends the process there. Default: nobody. */
  readonly onStep?: ((step: string) => void) | undefined;
}

/**
 * Gives the log of a directory, in which no scribe writes, a new key in a file: the new key is durable before the log says that
 * it takes over, that is durable and published before the old key is destroyed. A rotation that was broken off anywhere between is
 * brought to its end by the next start or the next rotation, or was none.
 *
 * @returns the key before and the key from now on.
 * @throws CaissonError EVIDENCE_UNAVAILABLE when a scribe writes in it, or the key cannot be used; EVIDENCE_DAMAGED
 */
export async function rotateKey(options: RotateOptions): Promise<{ readonly from: PublicKey; readonly to: PublicKey }> {
  const { dir, asOwner = (work) => work(), onStep = () => undefined } = options;
  await using _ = await lockKeys(dir);
  await settleRotation(dir);
  const from = await signerIn(dir);
  const to = await makeNext(dir, from);
  onStep('kept');
  const at = { isOpen: false };
  try {
    await asOwner(() => record(options, { from, to, onStep, at }));
  } catch (error) {
    if (!at.isOpen) await dropNext(dir); // nothing of it can be in the log
    throw error;
  }
  await installNext(dir, to, onStep);
  onStep('installed');
  return { from: from.publicKey, to: to.publicKey };
}

interface Change {
  readonly from: Signer;
  readonly to: Signer;
  readonly onStep: (step: string) => void;
  readonly at: { isOpen: boolean };
}

async function record({ dir, logDir = dir, groupReads = false, now, clocks }: RotateOptions, { from, to, onStep, at }: Change): Promise<void> {
  await using log = await openFileLog({ dir: logDir, now, clocks, signer: from, groupReads });
  at.isOpen = true;
  await log.rotate(to);
  onStep('recorded');
  await log.publish();
  onStep('published');
  await writePublicKey(logDir, to.publicKey, groupReads ? GROUP_TOO : OWNER_ONLY);
  onStep('told');
}

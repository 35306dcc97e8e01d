import { PointerCheck, type BadPointer } from '@caisson/projection';
import { goodEntries, judged, logDir, trustedKeys, type TrustFlags } from './replay-state.ts';
import { jsonText, print } from './say.ts';

/** Bad pointers that are shown; all are counted. */
const SHOWN_MOST = 100;

/** Follows every pointer of a log. @returns 0: all hold; 1: one does not, or the log is damaged */
export async function pointersCommand(flags: TrustFlags): Promise<number> {
  return judged(flags, async () => {
    const check = new PointerCheck();
    const bad: BadPointer[] = [];
    let entries = 0;
    let count = 0;
    for await (const { entry } of goodEntries(logDir(flags), trustedKeys(flags))) {
      entries += 1;
      const found = check.check(entry);
      count += found.length;
      bad.push(...found.slice(0, Math.max(0, SHOWN_MOST - bad.length)));
    }
    const { open, unread } = check;
    if (flags.json === true) print(`${jsonText({ entries, bad: count, first: bad, open, unread, verdict: count === 0 ? 'good' : 'bad' })}\n`);
    else {
      print(bad.map(({ index, subject, why }) => `entry ${index} ${jsonText(subject).slice(1, -1)}: ${jsonText(why).slice(1, -1)}\n`).join(''));
      print(`${entries} entries, ${count} bad pointers, ${open.length} intents without an outcome, ${unread} bodies that are not known\n`);
    }
    return count === 0 ? 0 : 1;
  });
}

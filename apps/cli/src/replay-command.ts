import { stateBytes, stateHash } from '@caisson/projection';
import { indexOf, judged, replayTo, type TrustFlags } from './replay-state.ts';
import { jsonText, print } from './say.ts';

export interface ReplayFlags extends TrustFlags {
  readonly until?: string;
  readonly showState?: boolean;
}

/** What the state of a log comes to. @returns 0, or 1 where the log is damaged */
export async function replayCommand(flags: ReplayFlags): Promise<number> {
  return judged(flags, async () => {
    const { state, root } = await replayTo(flags, '--until', indexOf('--until', flags.until));
    const told = {
      entries: state.entries, root, state: stateHash(state),
      open: state.open.size, sandboxes: state.sandboxes.size, unread: state.unread, misfits: state.totals.misfits,
    };
    const shown: unknown = flags.showState === true ? JSON.parse(stateBytes(state).toString('utf8')) : undefined;
    if (flags.json === true) {
      print(`${jsonText(shown === undefined ? told : { ...told, value: shown })}\n`);
      return 0;
    }
    const rows = [
      ['entries', String(told.entries)],
      ['root', root ?? 'none: the log is empty'],
      ['state', told.state],
      ['open', `${told.open} intents without an outcome, ${told.sandboxes} sandboxes`],
      ['unread', `${told.unread} entries with a body that is not known`],
      ['misfits', `${told.misfits} entries that do not follow from those before them`],
    ] as const;
    print(rows.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join(''));
    if (shown !== undefined) print(`${jsonText(shown)}\n`);
    return 0;
  });
}

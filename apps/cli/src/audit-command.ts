import { auditTail, auditVerify } from './audit.ts';
import { instancePaths } from './client.ts';
import type { SourceFlags } from './log-source.ts';
import { parseCount } from './quantity.ts';
import { indexOf, judged } from './replay-state.ts';
import type { StampFlags } from './stamped-heads.ts';
import type { WitnessFlags } from './witnessed-head.ts';

const out = (text: string): void => void process.stdout.write(text);

export interface TailFlags {
  readonly lines: string;
  readonly from?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly view?: string;
}

export async function tail(flags: TailFlags): Promise<number> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  return judged(flags, async () => {
    await auditTail(instancePaths(), {
      lines: parseCount('--lines', flags.lines),
      from: indexOf('--from', flags.from),
      follow: flags.follow === true,
      json: flags.json === true,
      view: flags.view,
      out,
      signal: stop.signal,
    });
    return 0;
  });
}

export interface VerifyFlags extends SourceFlags, WitnessFlags, StampFlags {
  readonly head?: string;
  readonly json?: boolean;
}

export async function verify(flags: VerifyFlags): Promise<number> {
  const { dir, archive, key, head, json, witness, quorum, witnessed, timestamps, stamped } = flags;
  return auditVerify(instancePaths(), { head, key, elsewhere: { dir, archive }, witnesses: { witness, quorum, witnessed }, stamps: { timestamps, stamped }, json: json === true, out });
}

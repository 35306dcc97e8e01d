import { auditTail, auditVerify } from './audit.ts';
import { instancePaths } from './client.ts';
import type { SourceFlags } from './log-source.ts';
import { parseCount } from './quantity.ts';
import { indexOf, judged } from './replay-state.ts';

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

export async function verify(flags: SourceFlags & { readonly head?: string; readonly json?: boolean }): Promise<number> {
  const { dir, archive, key, head, json } = flags;
  return auditVerify(instancePaths(), { head, key, elsewhere: { dir, archive }, json: json === true, out });
}

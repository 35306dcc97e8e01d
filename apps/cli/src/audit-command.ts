import { auditTail, auditVerify } from './audit.ts';
import { instancePaths } from './client.ts';
import { parseCount } from './quantity.ts';

const out = (text: string): void => void process.stdout.write(text);

export async function tail(flags: { readonly lines: string; readonly follow?: boolean; readonly json?: boolean }): Promise<number> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  await auditTail(instancePaths(), {
    lines: parseCount('--lines', flags.lines),
    follow: flags.follow === true,
    json: flags.json === true,
    out,
    signal: stop.signal,
  });
  return 0;
}

export async function verify(flags: { readonly head?: string; readonly key?: string; readonly witness?: readonly string[]; readonly quorum?: string; readonly json?: boolean }): Promise<number> {
  return auditVerify(instancePaths(), { head: flags.head, key: flags.key, witness: flags.witness, quorum: flags.quorum, json: flags.json === true, out });
}

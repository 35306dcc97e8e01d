import type { EntryDraft, StatePaths } from '@caisson/contract';
import { Gate, openResolver, readDescriptors, serveGate, Tally } from '@caisson/egress';
import { remoteLog } from '@caisson/evidence';
import { RemoteValues } from '@caisson/vault';
import { listenUnix } from '@caisson/wire';
import { identities, self } from './identity.ts';
import { isOver, Later } from './later.ts';
import { dropTo, HEARTBEAT_MS, log } from './lifetime.ts';

/**
 * The process between sandboxes and the network. It gives up all privilege before it reads anything, was given listeners in
 * the namespace of the gate, and makes connections outside. It may append to the log, is given the values of leased secrets by the vault, is told by control who may speak, and
 * starts nothing.
 */
export async function openGate(paths: StatePaths): Promise<AsyncDisposable> {
  const { gate: identity } = identities(paths.dir, self());
  const { gid } = identity;
  process.chdir(paths.run);
  dropTo(identity);
  const tally = new Tally();
  const evidence = remoteLog(paths.scribeSocket, { heartbeat: { source: 'gate', everyMs: HEARTBEAT_MS, counts: () => ({ told: tally.told }) } });
  const later = new Later(evidence.append);
  const values = new RemoteValues(paths.vaultGateSocket);
  const nowMs = (): number => performance.now();
  const resolver = openResolver({ nowMs });
  const gate = new Gate({
    descriptors: readDescriptors(process.env['CAISSON_GATE_FDS'] ?? ''),
    record: async (subject, body, secret) => {
      const draft: EntryDraft = { kind: 'egress', source: 'gate', subject, body, ...(secret !== undefined && { secret }) };
      await evidence.append(draft).catch((error: unknown) => {
        if (isOver(draft)) later.add(draft, () => tally.count(body));
        throw error;
      });
      tally.count(body);
    },
    resolve: resolver.resolve,
    valueOf: (asked) => values.value(asked),
    denials: paths.denials,
    nowMs,
    wallMs: Date.now,
    onBlind() {
      log('blind', { detail: 'what the kernel refuses is not told any more' });
      process.exit(1);
    },
  });
  await gate.open();
  const listening = await listenUnix(paths.gateSocket, { group: gid }, (socket) => serveGate(socket, gate));
  return {
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await gate[Symbol.asyncDispose]();
      resolver[Symbol.dispose]();
      values[Symbol.dispose]();
      later[Symbol.dispose]();
      evidence[Symbol.dispose]();
    },
  };
}

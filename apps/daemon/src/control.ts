import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, Seccomp, type HostFacts, type StatePaths } from '@caisson/contract';
import { RemoteGate } from '@caisson/egress';
import { remoteLog } from '@caisson/evidence';
import { remoteExpect, remoteFacts, remoteLaunch } from '@caisson/runtime';
import { Doubts, reconcile, type Rooms } from '@caisson/sandbox';
import { RemoteVault } from '@caisson/vault';
import { listenUnix } from '@caisson/wire';
import { preload } from './api/app.ts';
import { openControlApi, tcpPlace } from './control-api.ts';
import { identities, self } from './identity.ts';
import { dropTo, HEARTBEAT_MS, log } from './lifetime.ts';
import { readPolicy } from './policy.ts';
import { randomPool } from './random-pool.ts';
import { controlStatus, serveClient } from './serve-client.ts';
import { openStay } from './stay.ts';

/** Longest that a stopping control waits for its calls to be cancelled and put on record. */
const DRAIN_MS = 5_000;

/** The process that clients talk to: it decides and keeps the order of a call, and can touch neither kernel nor log. */
export async function openControl(paths: StatePaths, home: string): Promise<AsyncDisposable> {
  const policy = readPolicy(paths, home);
  const seccomp = Seccomp.parse(JSON.parse(readFileSync(`${home}/profiles/seccomp/default.json`, 'utf8')));
  const tcp = tcpPlace(process.env);
  await preload();
  process.chdir(`${paths.dir}/control`); // its uid need not be able to pass through the folders above
  dropTo(identities(paths.dir, self()).control);

  const evidence = remoteLog(paths.scribeSocket, { heartbeat: { source: 'control', everyMs: HEARTBEAT_MS } });
  let facts: Promise<HostFacts> | undefined;
  const doubts = new Doubts(evidence);
  const vault = new RemoteVault(paths.vaultSocket);
  const gate = new RemoteGate(paths.gateSocket, policy.value.network ?? {}, async (admission) => void (await vault.adopt(admission)));
  const rooms: Rooms = {
    policy,
    seccomp,
    evidence,
    doubts,
    gate,
    vault: {
      lease: (asked) => vault.lease(asked),
      adopt: async (held) => void (await vault.adopt(held)),
      list: (sandbox) => vault.list(sandbox),
      release: (sandbox) => vault.release(sandbox),
      revoke: (sandbox, secret) => vault.revoke({ sandbox, secret }),
      rotate: async (secret) => void (await vault.rotate(secret)),
    },
    host({ again }) {
      if (again || facts === undefined) facts = remoteFacts(paths.launcherSocket, again);
      const asked = facts;
      asked.catch(() => (facts = undefined));
      return asked;
    },
    launch: (spec, options) => remoteLaunch(paths.launcherSocket, spec, options),
    now: () => performance.now(),
    wallMs: Date.now,
    randomBytes: randomPool(),
  };
  await rooms.host({ again: false });
  const stay = await openStay(paths, rooms);
  for (const id of await reconcile(evidence, 'Caisson stopped before the call was over', stay.goingOn)) log('reconciled', { sandbox: id });

  const calls = new Map<string, Promise<void>>();
  const stopping = new AbortController();
  const listening = await listenUnix(paths.controlSocket, {}, (socket: Socket) => {
    void remoteExpect(paths.launcherSocket); // who connects is about to ask for a sandbox
    serveClient(socket, rooms, calls, stopping.signal);
  });
  const api = await openControlApi(paths, stay, { tcp, status: () => controlStatus(rooms, [...calls.keys()]) });
  return {
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      stopping.abort(new CaissonError('CANCELLED', { detail: 'Caisson is stopping' }));
      await Promise.race([Promise.allSettled(calls.values()), delay(DRAIN_MS)]);
      await listening[Symbol.asyncDispose]();
      await stay[Symbol.asyncDispose]();
      doubts[Symbol.dispose]();
      gate[Symbol.dispose]();
      vault[Symbol.dispose]();
      evidence[Symbol.dispose]();
    },
  };
}

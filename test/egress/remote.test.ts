import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { NetworkRequest } from '@caisson/contract';
import { RemoteGate } from '@caisson/egress';
import { answer, Channel, listenUnix, type Verbs } from '@caisson/wire';

const to = (host: string): NetworkRequest => ({ rules: [{ host }] });
const admission = (host: string): { sandbox: string; address: string; network: NetworkRequest } => ({ sandbox: 'sbx-0000000000000000', address: '198.19.0.2', network: to(host) });

interface Place extends AsyncDisposable {
  readonly gate: RemoteGate;
  /** What gates were told, one after another. */
  readonly told: string[];
  /** A gate that listens from now on. Disposing of it is its death. */
  start(options?: { readonly diesAtFirst?: boolean }): Promise<AsyncDisposable>;
}

function place(): Place {
  const dir = mkdtempSync(`${tmpdir()}/caisson-gate-`);
  const told: string[] = [];
  const gate = new RemoteGate(`${dir}/gate.sock`, {});
  const verbs: Verbs = {
    admit: async (message) => void told.push(`admit ${(message as { network: NetworkRequest }).network.rules[0]?.host}`),
    dismiss: async () => (told.push('dismiss'), null),
    hold: () => new Promise(() => undefined),
  };
  return {
    gate,
    told,
    async start({ diesAtFirst = false } = {}) {
      const channels: Channel[] = [];
      let isDying = diesAtFirst;
      const dying: Verbs = {
        ...verbs,
        admit: async (message) => {
          if (!isDying) return verbs['admit']?.(message);
          isDying = false;
          for (const channel of channels) channel[Symbol.dispose]();
        },
      };
      const listening = await listenUnix(`${dir}/gate.sock`, {}, (socket) => {
        const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(dying, message, channel).catch(() => undefined) });
        channels.push(channel);
      });
      return {
        async [Symbol.asyncDispose]() {
          for (const channel of channels) channel[Symbol.dispose]();
          await listening[Symbol.asyncDispose]();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      gate[Symbol.dispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

test('a gate that is started anew is told of everybody, with the rules of the last change that was taken', async () => {
  await using on = place();
  const first = await on.start();
  await on.gate.admit(admission('a.test'));
  await on.gate.admit(admission('b.test'));
  await first[Symbol.asyncDispose]();
  await assert.rejects(on.gate.admit(admission('c.test')), { code: 'NETWORK_UNAVAILABLE' });
  on.told.length = 0;
  await using second = await on.start();
  assert.ok(second);
  while (on.told.length === 0) await delay(10);
  assert.deepEqual(on.told, ['admit b.test']);
});

test('who was dismissed while no gate was there is not admitted to the next one', async () => {
  await using on = place();
  const first = await on.start();
  await on.gate.admit(admission('a.test'));
  await first[Symbol.asyncDispose]();
  const changing = on.gate.admit(admission('b.test'));
  const dismissed = on.gate.dismiss('sbx-0000000000000000');
  on.told.length = 0;
  await using second = await on.start();
  assert.ok(second);
  await Promise.all([changing, dismissed]);
  await delay(200);
  assert.deepEqual(on.told.filter((word) => word.startsWith('admit')), []);
});

test('a gate that comes just after another was not told is told of everybody', async () => {
  await using on = place();
  const first = await on.start();
  await on.gate.admit(admission('a.test'));
  await first[Symbol.asyncDispose]();
  on.told.length = 0;
  // The first admission meets a gate that dies of it; whoever answers from then on is the next.
  await using second = await on.start({ diesAtFirst: true });
  assert.ok(second);
  for (const untilMs = performance.now() + 10_000; on.told.length === 0 && performance.now() < untilMs; ) await delay(10);
  await delay(400); // nobody is told twice
  assert.deepEqual(on.told, ['admit a.test']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError, Sandbox, type NetworkInfo, type Process } from '@caisson/sdk';
import { leastOf } from '../least.ts';
import { caissonIn, type CaissonIn } from './caisson-in.ts';
import { noInternet, openInternet, type Internet } from './internet/internet.ts';

const skip = noInternet();
const LEVELS = ['container', 'gvisor'] as const;
const KEPT = '93.184.216.34';
const CUT = '93.184.216.35';
const NEW = '93.184.216.36';
const BEFORE: readonly string[] = ['kept.test:7/tcp', 'cut.test:7/tcp', 'cut.test:80'];
/** How soon a connection that is no longer allowed must be gone. */
const SOON_MS = 1_000;

/** Speaks to an echo server until that fails, and says when each answer came. */
const TALK = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], 7), 5)
s.settimeout(5)
try:
    while True:
        s.sendall(b'x')
        if s.recv(1) != b'x': raise OSError('end')
        print('answer', flush=True)
        time.sleep(0.05)
except OSError as error:
    print('over', error, flush=True)
`;

interface Talk {
  /** Resolves at the next answer. */
  next(): Promise<void>;
  /** Resolves with the moment of its end. */
  readonly over: Promise<number>;
}

async function talk(box: Sandbox, host: string): Promise<Talk> {
  return listen(await box.spawn(['python3', '-c', TALK, host]));
}

function listen(process: Process): Talk {
  const over = Promise.withResolvers<number>();
  const waiting: (() => void)[] = [];
  void (async () => {
    for await (const line of process.stdout.lines()) {
      if (line.startsWith('over')) over.resolve(performance.now());
      for (const each of waiting.splice(0)) each();
    }
    over.resolve(performance.now());
  })();
  return { next: () => new Promise((resolve) => void waiting.push(resolve)), over: over.promise };
}

const reach = async (box: Sandbox, url: string): Promise<boolean> => (await box.exec(['curl', '-sS', '-k', '--max-time', '10', '-o', '/dev/null', url])).ok;

/** The state of its network, as soon as this refusal is part of it. */
async function seen(box: Sandbox, isIt: (refusal: NetworkInfo['refused'][number]) => boolean): Promise<NetworkInfo> {
  for (const end = performance.now() + 20_000; ; await delay(50)) {
    const state = await box.network.get();
    if (state.refused.some(isIt)) return state;
    assert.ok(performance.now() < end, JSON.stringify(state.refused));
  }
}

async function untilReached(box: Sandbox, url: string): Promise<void> {
  for (const end = performance.now() + 15_000; !(await reach(box, url)); ) assert.ok(performance.now() < end, `${url} is not reached again`);
}

interface World extends AsyncDisposable {
  readonly net: Internet;
  readonly caisson: CaissonIn;
}

async function world(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const net = stack.use(await openInternet());
  await net.zone.set('kept.test', { addresses: [KEPT] });
  await net.zone.set('cut.test', { addresses: [CUT] });
  await net.zone.set('new.test', { addresses: [NEW] });
  const caisson = stack.use(await caissonIn(net, { deny: [{ host: 'never.test' }] }));
  const own = stack.move();
  return { net, caisson, [Symbol.asyncDispose]: () => own.disposeAsync() };
}

/** A sandbox of this level; null where the level is not delivered. */
async function made({ connection }: CaissonIn, level: (typeof LEVELS)[number], rules: readonly string[]): Promise<Sandbox | null> {
  try {
    return await Sandbox.create({ level, network: { rules } }, { connection });
  } catch (error) {
    if (error instanceof CaissonError && error.code === 'LEVEL_UNAVAILABLE') return null;
    throw error;
  }
}

for (const level of LEVELS) {
  test(`rules are changed under a running sandbox (${level}): what they no longer allow is cut within ${SOON_MS} ms, and kill -9 of control or gate changes nothing`, { skip, timeout: 120_000 }, async (t) => {
    await using there = await world();
    const { net, caisson } = there;
    await using box = await made(caisson, level, BEFORE);
    if (box === null) return t.skip(`level ${level} is not delivered here`);
    assert.equal(await reach(box, 'http://cut.test/'), true);
    assert.equal(await reach(box, 'https://new.test/'), false);
    const kept = await talk(box, 'kept.test');
    await kept.next();

    let isAgain = false;
    const tookMs = await leastOf(SOON_MS, async () => {
      if (isAgain) await box.network.set(BEFORE);
      isAgain = true;
      const cut = await talk(box, 'cut.test');
      await cut.next();
      const begun = performance.now();
      await box.network.set(['kept.test:7/tcp', 'new.test']);
      return (await cut.over) - begun;
    });
    assert.ok(tookMs < SOON_MS, `what is no longer allowed is cut: ${tookMs} ms`);
    await kept.next();
    const mark = await net.mark();
    assert.equal(await reach(box, 'https://new.test/'), true);
    for (const url of ['http://cut.test/', `http://${CUT}/`]) assert.equal(await reach(box, url), false);
    await assert.rejects(box.network.allow('never.test:22/tcp'), { code: 'EGRESS_EXCEEDS_POLICY' });

    const state = await seen(box, ({ what, to }) => what === 'packet' && to === `${CUT}:80/tcp`);
    assert.deepEqual(state.rules, [{ host: 'kept.test', port: 7, protocol: 'tcp' }, { host: 'new.test' }]);
    assert.deepEqual(state.connections.map(({ host, port }) => [host, port]), [['kept.test', 7]]);
    assert.ok(state.connections.every(({ bytesOut, bytesIn, startedMs }) => bytesOut > 0 && bytesIn > 0 && Math.abs(Date.now() - startedMs) < 60_000));
    const refused = state.refused.filter(({ to }) => to.includes('cut.test'));
    assert.ok(refused.length > 0 && refused.every(({ reason, lastMs }) => reason !== '' && Math.abs(Date.now() - lastMs) < 60_000), JSON.stringify(state.refused));
    assert.ok(state.refusedTotal >= 2);

    await caisson.crash('control');
    assert.deepEqual((await box.network.get()).rules, state.rules);
    await kept.next(); // control is not in the way
    assert.equal(await reach(box, 'https://new.test/'), true);
    assert.equal(await reach(box, 'http://cut.test/'), false);

    await caisson.crash('gate');
    await kept.over; // the gate was in the way
    await untilReached(box, 'https://new.test/');
    assert.equal(await reach(box, 'http://cut.test/'), false);
    assert.deepEqual((await box.network.get()).rules, state.rules);
    const { connections, queries } = await net.since(mark);
    assert.ok(connections.some(({ destination }) => destination === NEW));
    assert.ok(connections.every(({ destination }) => destination !== CUT) && queries.every(({ name }) => name !== 'cut.test'), 'nothing was sent to what is no longer allowed');
    const audited = await caisson.cli('audit', 'verify');
    assert.equal(audited.status, 0, audited.stderr);
  });

  test(`a fork has the rules of its original and a link of its own, a restore keeps them, and memory is not kept (${level})`, { skip, timeout: 120_000 }, async (t) => {
    await using there = await world();
    const { caisson } = there;
    await using box = await made(caisson, level, ['kept.test:80']);
    if (box === null) return t.skip(`level ${level} is not delivered here`);
    await box.network.set(['new.test:80']);
    await using fork = await box.fork();
    const address = async (of: Sandbox): Promise<string> => (await of.exec(['python3', '-c', "import socket; s = socket.socket(); s.connect(('198.18.0.1', 53)); print(s.getsockname()[0])"])).stdout.trim();
    assert.match(await address(box), /^\d+\.\d+\.\d+\.\d+$/);
    assert.notEqual(await address(fork), await address(box));
    for (const each of [box, fork]) {
      assert.equal(await reach(each, 'http://new.test/'), true);
      assert.equal(await reach(each, 'http://kept.test/'), false);
    }
    await fork.network.set([]);
    assert.equal(await reach(fork, 'http://new.test/'), false);
    const snapshot = await box.snapshot();
    const before = await address(box);
    await box.restore(snapshot);
    assert.notEqual(await address(box), '');
    assert.equal(await reach(box, 'http://new.test/'), true, `after ${before}`);
    assert.equal(await reach(box, 'http://kept.test/'), false);
    await assert.rejects(box.snapshot({ memory: true }), { code: 'CHECKPOINT_UNAVAILABLE' });
    await assert.rejects(box.fork({ memory: true }), { code: 'CHECKPOINT_UNAVAILABLE' });
  });
}

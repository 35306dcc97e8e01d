import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { noInternet } from './internet/internet.ts';
import { openScene, type Scene } from './given.ts';

const PUBLIC = '93.184.216.34';
const SERVER = '149.112.112.112';

for (const [transport, resolver, port] of [['tls', `tls://${SERVER}#dns.example.test`, 853], ['https', `https://${SERVER}/dns-query#dns.example.test`, 443]] as const) {
  describe(`a sandbox whose gate asks for names over ${transport}`, { skip: noInternet(), concurrency: false }, () => {
    let scene: Scene;
    before(async () => {
      scene = await openScene({ policy: ({ net }) => ({ network: { resolvers: [resolver], certificateAuthorities: [net.caPem] } }) });
      await scene.net.zone.set('example.test', { addresses: [PUBLIC], ttlSeconds: 0 });
      await scene.net.zone.set('alias.test', { cname: 'example.test', ttlSeconds: 0 });
      await scene.net.zone.set('inner.test', { addresses: ['10.0.0.1'], ttlSeconds: 0 });
    });
    after(() => scene[Symbol.asyncDispose]());

    test(`reaches names, and is refused those that are not public, and nothing is asked in the open (${transport})`, async () => {
      await using box = await scene.open({ level: 'container', rules: ['example.test:80', 'alias.test:80', 'inner.test:80'] });
      const mark = await scene.net.mark();
      const status = async (name: string): Promise<string> => (await box.exec(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '15', `http://${name}/`])).stdout.toString();
      assert.deepEqual([await status('example.test'), await status('alias.test'), await status('inner.test')], ['200', '200', '403']);
      const { packets, queries, lostPackets } = await scene.net.since(mark);
      assert.deepEqual([...new Set(queries.map((query) => `${query.transport} ${query.destination}`))], [`${transport} ${SERVER}`]);
      assert.deepEqual([...new Set(packets.map(({ protocol, destination, destinationPort }) => `${protocol} ${destination} ${destinationPort ?? ''}`))].toSorted(), [`tcp ${SERVER} ${port}`, `tcp ${PUBLIC} 80`].toSorted());
      assert.equal(lostPackets, 0);
    });

    test(`reaches no name while the server does not prove itself, says why, and nothing is asked in the open (${transport})`, async () => {
      await using box = await scene.open({ level: 'container', rules: ['example.test:80', 'other.test:80'] });
      await scene.net.zone.set('other.test', { addresses: [PUBLIC], ttlSeconds: 0 });
      await scene.net.present('dns.example.test', { isSelfSigned: true });
      await scene.pidOf('gate').then((pid) => process.kill(pid, 'SIGKILL')); // the next one has no connection yet
      const mark = await scene.net.mark();
      const ask = async (): Promise<string> => (await box.exec(['curl', '-s', '-w', '%{http_code}', '--max-time', '15', 'http://other.test/'])).stdout.toString();
      for (const untilMs = performance.now() + 15_000; ; ) {
        const said = await ask();
        if (said.endsWith('502')) {
          assert.match(said, /the DNS server dns\.example\.test by (tls|https): the server has not proved its name/);
          break;
        }
        assert.ok(performance.now() < untilMs, said);
      }
      const { packets, queries } = await scene.net.since(mark);
      assert.deepEqual(queries, []);
      assert.deepEqual([...new Set(packets.map(({ protocol, destination, destinationPort }) => `${protocol} ${destination} ${destinationPort ?? ''}`))], [`tcp ${SERVER} ${port}`]);
      await scene.net.present('dns.example.test', {});
      for (const untilMs = performance.now() + 15_000; !(await ask()).endsWith('200');) assert.ok(performance.now() < untilMs, 'control: with a good certificate the name is reached');
    });
  });
}

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { noInternet } from './internet/internet.ts';
import { openScene, type Scene } from './given.ts';

const SMUGGLE = readFileSync(`${import.meta.dirname}/attack-smuggle.py`, 'utf8');

describe('a sandbox that may ask example.test:80 for what is below /ok', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene();
    await scene.net.zone.set('example.test', { addresses: ['93.184.216.34'] });
  });
  after(() => scene[Symbol.asyncDispose]());

  for (const way of ['direct', 'proxy'] as const) {
    test(`smuggles no other request through (${way})`, async () => {
      await using box = await scene.open({ level: 'container', rules: [{ host: 'example.test', port: 80, http: { paths: ['/ok/**'], methods: ['GET', 'POST'] } }] });
      const mark = await scene.net.mark();
      const tries = (await box.python(SMUGGLE, way)).map((line) => line.split('\t'));
      assert.deepEqual(tries.filter(([name = '', said]) => name.startsWith('pass') && said !== (name.includes('pipelined') ? '200 200' : '200')), [], 'control');
      assert.ok(tries.length > 50);

      const { connections, requests, packets } = await scene.net.since(mark);
      assert.deepEqual([...new Set(packets.filter(({ destinationPort }) => destinationPort !== 53).map(({ destination }) => destination))], ['93.184.216.34']);
      for (const { method, path, headers } of requests) {
        assert.match(`${method} ${path}`, /^(GET|POST) \/ok\/[a-z]$/);
        assert.deepEqual(headers.filter(([name]) => name.toLowerCase() === 'host').map(([, value]) => value), ['example.test']);
      }
      for (const { bytes } of connections) assert.doesNotMatch(bytes.toString('latin1'), /admin|evil/i);
      for (const { headers } of requests) assert.ok(headers.every(([name, value]) => name.toLowerCase() !== 'upgrade' || value === 'websocket'), 'h2c is no way to requests that nobody reads');
      await box.refusals(['example.test:80', /request (the proxy|example\.test:80): no request/, ...(way === 'direct' ? ['CONNECT'] : ['evil.test:443'])]);
    });
  }
});

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { IS_ROOT, NEEDS_ROOT } from '../harness.ts';
import { BUSYBOX, busybox, plain, writeLayout } from '../images/given.ts';
import { ground } from './given.ts';

const { caisson, levels, sandbox } = ground();
const skip = !IS_ROOT ? NEEDS_ROOT : !existsSync(BUSYBOX) && 'needs busybox-static';

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function ask(method: string, path: string, json?: unknown): Promise<Answer> {
  const { paths } = await caisson();
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const headers = json === undefined ? {} : { 'content-type': 'application/json' };
  const asked = request({ socketPath: paths.apiSocket, method, path, headers }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
  });
  asked.on('error', reject);
  asked.end(json === undefined ? undefined : JSON.stringify(json));
  return promise;
}

test('an image is imported by the API, runs at every level under its digest, and is not removed while it does', { skip, timeout: 120_000 }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-image-`);
  try {
    writeLayout(`${dir}/layout`, { layers: [plain([...busybox(), { name: 'which', body: 'the image\n' }])], config: { Env: ['GIVEN=by the image'] } });
    const imported = await ask('POST', '/v1/images', { name: 'small', source: `${dir}/layout` });
    assert.match(imported.body, /event: image\ndata: \{"digest":"sha256:/);
    const listed = JSON.parse((await ask('GET', '/v1/images/small')).body) as { digest: string };
    for (const level of await levels()) {
      await using box = await sandbox({ image: 'small', level });
      assert.equal((await box.info()).image, listed.digest);
      const { stdout } = await box.sh('cat /which; echo $GIVEN; id -un');
      assert.equal(stdout, 'the image\nby the image\nagent\n');
      assert.equal((JSON.parse((await ask('DELETE', '/v1/images/small')).body) as { code: string }).code, 'IMAGE_IN_USE');
    }
    const until = Date.now() + 10_000;
    let gone = await ask('DELETE', '/v1/images/small');
    while (gone.status === 409 && Date.now() < until) gone = await ask('DELETE', '/v1/images/small');
    assert.equal(gone.status, 204);
    await assert.rejects(sandbox({ image: 'small' }), { code: 'IMAGE_NOT_FOUND' });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('images whose labels are more than one frame can hold hide no image and can be removed', { skip, timeout: 120_000 }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-image-`);
  try {
    for (let n = 0; n < 6; n++) {
      const labels = Object.fromEntries(Array.from({ length: 15 }, (_, each) => [`label-${n}-${each}`, 'x'.repeat(60_000)]));
      writeLayout(`${dir}/${n}`, { layers: [plain([...busybox(), { name: 'which', body: `${n}\n` }])], config: { Labels: labels } });
      assert.match((await ask('POST', '/v1/images', { name: `labelled${n}`, source: `${dir}/${n}` })).body, /event: image\n/);
    }
    {
      await using box = await sandbox({ image: 'labelled5' });
      assert.equal((await box.sh('cat /which')).stdout, '5\n');
    }
    assert.equal((JSON.parse((await ask('GET', '/v1/images')).body) as { images: unknown[] }).images.length, 6);
    const until = Date.now() + 20_000;
    for (let n = 0; n < 6; ) {
      const { status } = await ask('DELETE', `/v1/images/labelled${n}`);
      if (status === 204) n++;
      assert.ok(Date.now() < until, `${status}`);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('an image that is not there, or is hostile, is refused by the API with its reason', { skip }, async () => {
  const answer = await ask('POST', '/v1/images', { name: 'none', source: '/nowhere' });
  assert.match(answer.body, /event: problem\ndata: \{.*IMAGE_UNAVAILABLE/);
});

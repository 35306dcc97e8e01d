import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hideUnifiedCgroup, type Machine } from '@caisson/runtime';
import type { ImageInfo } from '@caisson/images';
import { againInOwnMounts, leftOf, needsOwnMounts, openGround, readHost, specFor, type Ground } from '../drivers/given.ts';
import { runIn } from '../drivers/suite.ts';
import { BUSYBOX, busybox, IS_ROOT, openBench, plain, withLibraries, zipped, type Bench } from './given.ts';

const never = (): { signal: AbortSignal } => ({ signal: new AbortController().signal });
const SH = (script: string): string[] => ['/bin/sh', '-c', script];
const ENV = { env: ['PATH=/bin'] };

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) test('a sandbox runs from an image', (t) => t.skip('needs root: cgroups cannot be made without it'));
else if (!existsSync(BUSYBOX)) test('a sandbox runs from an image', (t) => t.skip('needs busybox-static'));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runc', 'runsc']) runsFromImages(name, runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`);
}

function runsFromImages(name: string, skip: string | false): void {
  suite(`images under ${name}`, { skip }, () => {
    let bench: Bench;
    let ground: Ground;
    let image: ImageInfo;
    let other: ImageInfo;

    before(async () => {
      bench = await openBench({}, '/run');
      image = await bench.layout({
        layers: [
          plain([...busybox(), { name: './bin/gain', body: 'x', mode: 0o6755 }, { name: './secret', body: 'x', mode: 0o600 }, { name: './.caisson/init', body: 'hostile', mode: 0o755 }]),
          plain(withLibraries('/usr/bin/flock')),
          zipped([{ name: './which', body: 'first\n' }, { name: './proc', type: '2', target: '/bin' }, { name: './workspace/hidden', body: 'x' }]),
        ],
      });
      other = await bench.layout({ layers: [plain([...busybox(), { name: './which', body: 'second\n' }])] });
      ground = await openGround(name, { images: bench.store });
    });
    after(async () => {
      await ground?.[Symbol.asyncDispose]();
      await bench?.[Symbol.asyncDispose]();
    });

    const specOf = ({ digest }: ImageInfo): ReturnType<typeof specFor> => specFor(ground.host, {}, digest as `sha256:${string}`);
    async function inside(script: string, from = image): Promise<string> {
      const machine = await ground.driver.launch(specOf(from), never());
      try {
        return await said(machine, script);
      } finally {
        await machine.close();
        await ground.driver.settled();
      }
    }
    async function said(machine: Machine, script: string): Promise<string> {
      const { end, stdout, stderr } = await runIn(machine, SH(script), ENV);
      assert.deepEqual(end, { kind: 'exited', code: 0 }, stderr.toString());
      return stdout.toString();
    }

    test(`${name}: a sandbox sees the files of its image and none of the host's`, async () => {
      assert.equal(await inside('cat /which; ls /usr/bin; readlink /bin/sh'), 'first\nflock\nbusybox\n');
      assert.equal(await inside('cat /which', other), 'second\n');
    });

    test(`${name}: whatever the image holds, /proc, /dev, /tmp, /workspace and pid 1 are the sandbox's own`, async () => {
      assert.equal(await inside('cat /proc/1/comm; ls /workspace | wc -l; head -c 1 /dev/zero | wc -c; touch /tmp/a /workspace/b && echo written'), 'init\n0\n1\nwritten\n');
    });

    test(`${name}: nothing of an image can be written`, async () => {
      const places = await inside('for d in $(find / -maxdepth 2 -type d -not -path "/proc/*" 2>/dev/null); do (: > "$d/.w") 2>/dev/null && echo "$d"; done; true');
      assert.deepEqual(places.trim().split('\n').toSorted(), ['/dev/shm', '/tmp', '/workspace'].toSorted());
      assert.equal(await inside('for f in /which /etc/passwd /bin/busybox /.caisson/init; do (echo x >> $f) 2>/dev/null && echo $f; done; echo done'), 'done\n');
    });

    test(`${name}: the sandbox has an account of its own, and the image's other accounts stay`, async () => {
      assert.equal(await inside('id -un; id -u; cat /etc/passwd'), 'agent\n1000\nroot:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/workspace:/bin/sh\n');
    });

    test(`${name}: a setuid bit of an image is not there, and a file of its root alone stays unreadable`, async () => {
      assert.equal(await inside('stat -c %a /bin/gain; cat /secret 2>/dev/null || echo unreadable'), '755\nunreadable\n');
    });

    test(`${name}: a lock on a file or folder of an image is not seen by another sandbox of it`, async () => {
      const [first, second] = await Promise.all([ground.driver.launch(specOf(image), never()), ground.driver.launch(specOf(image), never())]);
      try {
        for (const path of ['/which', '/bin', '/']) {
          const holding = said(first, `/usr/bin/flock -n ${path} sleep 1.2 && echo held`);
          await delay(500);
          assert.equal(await said(second, `/usr/bin/flock -n ${path} echo free`), 'free\n', path);
          assert.equal(await holding, 'held\n');
        }
      } finally {
        await Promise.all([first.close(), second.close()]);
        await ground.driver.settled();
      }
    });

    test(`IMAGE_IN_USE: an image that a sandbox of ${name} runs from is not removed, and is when it has ended`, async () => {
      const third = await bench.layout({ layers: [plain([...busybox(), { name: './which', body: `${name}\n` }])] });
      const machine = await ground.driver.launch(specOf(third), never());
      await assert.rejects(bench.store.remove(third.digest), { code: 'IMAGE_IN_USE' });
      assert.equal(await said(machine, 'cat /which'), `${name}\n`);
      await machine.close();
      await ground.driver.settled();
      await bench.store.remove(third.digest);
      assert.equal(bench.store.get(third.digest), null);
    });

    test(`IMAGE_NOT_FOUND: under ${name} an image that is not there starts nothing and leaves nothing`, async () => {
      await assert.rejects(ground.driver.launch(specOf({ ...image, digest: `sha256:${'0'.repeat(64)}` }), never()), { code: 'IMAGE_NOT_FOUND' });
      assert.deepEqual(leftOf(ground), []);
    });

    test(`${name}: sandboxes of images leave no mount and no root behind, started or not`, async () => {
      const machines = await Promise.all([1, 2, 3].map(() => ground.driver.launch(specOf(image), never())));
      assert.equal(readdirSync(`${ground.base}/images/roots`).length, 3);
      await Promise.all(machines.map((machine) => machine.close()));
      const gone = new AbortController();
      const starting = ground.driver.launch(specOf(image), { signal: gone.signal });
      setTimeout(() => gone.abort(new Error('given up')), 5);
      await assert.rejects(starting);
      await ground.driver.settled();
      assert.deepEqual(readdirSync(`${ground.base}/images/roots`), []);
      assert.deepEqual(leftOf(ground), []);
    });
  });
}

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { hideUnifiedCgroup } from '@caisson/runtime';
import { makeAuthority, trusting } from '../drivers/authorities.ts';
import { againInOwnMounts, leftOf, needsOwnMounts, specFor } from '../drivers/given.ts';
import { checkpoint, forkOf, lacks, launch, openMemoryGround, restore, start } from './given.ts';

const READ = 'import sys\nfor line in sys.stdin:\n  print(open("/etc/caisson/ca.crt").read() == line.replace("|", chr(10)).removesuffix(chr(10)), flush=True)\n';
const asLine = (certificate: string): Buffer => Buffer.from(`${certificate.replaceAll('\n', '|')}\n`);

function trust(skip: string | false): void {
  suite('trust in memory', { skip }, () => {
    test('a fork trusts the authority that it is given, and no longer that of its original', async () => {
      await using memory = await openMemoryGround();
      const { ground } = memory;
      // Names of other lengths, so that the files of a fork have other sizes.
      const [one, two] = [makeAuthority('Caisson test'), makeAuthority('Caisson test of a fork with a longer name')];
      const spec = specFor(ground.host);
      const original = await launch(ground, trusting(spec, one.certificate));
      const reader = start(original, 'reader', ['python3', '-c', READ], { stdin: true });
      await reader.exec.writeStdin(asLine(one.certificate));
      assert.deepEqual(await reader.output.reach(1), ['True']);
      const folder = memory.place();
      await checkpoint(original, folder);
      await original.close();
      await assert.rejects(restore(ground, forkOf(spec, ground), folder), { code: 'CHECKPOINT_INVALID', message: /another spec: mounts/ });
      const fork = await restore(ground, forkOf(trusting(spec, two.certificate), ground), folder);
      const copy = fork.execs.get('reader');
      assert.ok(copy);
      await copy.exec.writeStdin(Buffer.concat([asLine(two.certificate), asLine(one.certificate)]));
      assert.deepEqual(await copy.output.reach(2), ['True', 'False']);
      await fork.machine.close();
      await ground.driver.settled();
      assert.deepEqual(leftOf(ground), []);
    });
  });
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else {
  const skip = await lacks('runsc');
  if (skip === false) await hideUnifiedCgroup();
  trust(skip);
}

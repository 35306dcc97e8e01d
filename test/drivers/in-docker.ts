import { once } from 'node:events';
import { suite, test } from 'node:test';
import { hideUnifiedCgroup } from '@caisson/runtime';
import { findDockerd, startDockerd } from './dockerd.ts';
import { againInOwnMounts, IS_ROOT } from './given.ts';

/**
 * Runs a file of tests beside a Docker daemon of its own, whose folder the suites are given. A launcher has a mount
 * namespace to itself, and the daemon of a host has not: so it is here.
 */
export async function besideDockerd(file: string, suites: (folder: string) => void | Promise<void>): Promise<void> {
  const program = findDockerd();
  const skip = (why: string): void => void suite('Docker', () => test('holds sandboxes', (t) => t.skip(why)));
  if (!IS_ROOT) return skip('needs root: cgroups cannot be made without it');
  if (program === undefined) return skip('dockerd is not installed: apt-get install docker.io');
  if (process.env['CAISSON_TEST_MOUNTS'] === 'own') {
    await hideUnifiedCgroup();
    return suites(process.env['CAISSON_TEST_DOCKERD'] ?? '');
  }
  await using dockerd = await startDockerd(program);
  await once(againInOwnMounts(file, { DOCKER_HOST: `unix://${dockerd.socket}`, CAISSON_TEST_DOCKERD: dockerd.folder }), 'exit');
}

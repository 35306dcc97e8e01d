import { setTimeout as delay } from 'node:timers/promises';
import { CaissonError } from '@caisson/contract';
import type { DockerContainer } from '@caisson/isolation';
import { z } from 'zod';
import { messageOf, type Engine } from './engine.ts';

/** Carried by every container and volume of a sandbox: whose they are can be told without the launcher that made them. */
export const SANDBOX_LABEL = 'io.caisson.sandbox';
export const INSTANCE_LABEL = 'io.caisson.instance';

const CONFLICT = 409;
const NOT_FOUND = 404;
/** Longest that the daemon takes to let go of what it is told to remove. */
const REMOVE_MS = 10_000;

const Id = z.string().regex(/^[0-9a-f]{64}$/);
const Created = z.object({ Id, Warnings: z.array(z.string()).nullable() });
const Inspected = z.object({ State: z.object({ Running: z.boolean(), Pid: z.int() }) });
const Containers = z.array(z.object({ Id }));
const Volumes = z.object({ Volumes: z.array(z.object({ Name: z.string().regex(/^[\w.-]+$/) })).nullable() });

/**
 * Makes a container under a name that is its uid's: the daemon gives no name twice, so that whichever launchers use it, no
 * two of their sandboxes have one uid.
 *
 * @returns its id, or null when another sandbox has this uid
 * @throws CaissonError LAUNCH_FAILED in the daemon's words
 */
export async function createContainer(engine: Engine, uid: number, container: DockerContainer): Promise<string | null> {
  const reply = await engine.call({ method: 'POST', path: `/containers/create?name=caisson-uid-${uid}`, json: container });
  if (reply.status === CONFLICT) return null;
  if (reply.status !== 201) throw new CaissonError('LAUNCH_FAILED', { detail: messageOf(reply) });
  const { Id: id, Warnings: warnings } = Created.parse(reply.body);
  // A daemon warns of what it leaves out, and a limit that is left out is none.
  if (warnings !== null && warnings.length > 0) throw new CaissonError('LAUNCH_FAILED', { detail: `the Docker daemon would not do as it was told: ${warnings.join('; ')}` });
  return id;
}

/** @throws CaissonError LAUNCH_FAILED in the daemon's words */
export async function startContainer(engine: Engine, id: string): Promise<void> {
  const reply = await engine.call({ method: 'POST', path: `/containers/${id}/start` });
  if (reply.status !== 204) throw new CaissonError('LAUNCH_FAILED', { detail: messageOf(reply) });
}

/** Number of a container's pid 1 in the daemon's pid namespace. @throws CaissonError LAUNCH_FAILED when it does not run */
export async function pidOf(engine: Engine, id: string): Promise<number> {
  const reply = await engine.call({ method: 'GET', path: `/containers/${id}/json` });
  if (reply.status !== 200) throw new CaissonError('LAUNCH_FAILED', { detail: messageOf(reply) });
  const { State: { Running: runs, Pid: pid } } = Inspected.parse(reply.body);
  if (!runs || pid < 1) throw new CaissonError('LAUNCH_FAILED', { detail: 'pid 1 ended before it spoke' });
  return pid;
}

/**
 * Removes the containers and volumes of a sandbox, and resolves when the daemon has none any more.
 *
 * @throws Error when it does not answer, or keeps one
 */
export async function removeSandbox(engine: Engine, sandbox: string): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${SANDBOX_LABEL}=${sandbox}`] }));
  const containers = Containers.parse((await engine.call({ method: 'GET', path: `/containers/json?all=1&filters=${filters}` })).body);
  for (const { Id: id } of containers) await remove(engine, `/containers/${id}?force=1&v=1`);
  const volumes = Volumes.parse((await engine.call({ method: 'GET', path: `/volumes?filters=${filters}` })).body);
  for (const { Name: name } of volumes.Volumes ?? []) await remove(engine, `/volumes/${name}?force=1`);
}

async function remove(engine: Engine, path: string): Promise<void> {
  for (const until = Date.now() + REMOVE_MS; ; await delay(20)) {
    const reply = await engine.call({ method: 'DELETE', path });
    if (reply.status < 300 || reply.status === NOT_FOUND) return;
    // Somebody else may be removing it, and a mount may be in use for a moment.
    if (Date.now() > until) throw new Error(messageOf(reply));
  }
}

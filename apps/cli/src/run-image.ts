import { networkOf } from './allow.ts';
import { openApi } from './api.ts';
import { exec } from './exec-command.ts';
import { requestOf, type RunFlags } from './run.ts';

const MIB = 2 ** 20;
/** The limits of `run` where none are asked for: a sandbox that stays would have those of a longer life. */
const LIMITS = { wallMs: 60_000, cpuMs: 60_000, outputBytes: 16 * MIB, workspaceBytes: 256 * MIB } as const;
/** How much longer the sandbox lives than its command may take. */
const SPARE_MS = 60_000;

/** Runs one command in a fresh sandbox of an image, and returns its exit status. */
export async function runImage(argv: readonly string[], flags: RunFlags, home: string): Promise<number> {
  const { level, limits: asked = {}, env, secrets } = requestOf(argv, flags);
  const network = await networkOf(flags);
  const limits = { ...LIMITS, ...asked };
  const { sdk, connection } = await openApi(home);
  const request = { limits, ttlMs: limits.wallMs + SPARE_MS, keepAlive: true, ...(flags.image === undefined ? {} : { image: flags.image }), ...(level === undefined ? {} : { level }), ...(env === undefined ? {} : { env }), ...(secrets === undefined ? {} : { secrets }), ...(network && { network }) };
  await using box = await sdk.Sandbox.create(request, { connection });
  flags.learning?.ended(box.id);
  return await exec(box.id, argv, { interactive: flags.stdin === true, json: flags.json === true, streams: flags.learning?.streams, ...(flags.cwd === undefined ? {} : { cwd: flags.cwd }) });
}

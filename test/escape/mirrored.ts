import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after } from 'node:test';
import { Sandbox } from '@caisson/sdk';
import { HOME, startCaisson, type Caisson } from '../harness.ts';

type Options = NonNullable<Parameters<typeof Sandbox.create>[0]>;

/** Where a sandbox sees its mirror. */
export const AT = '/workspace/audit.jsonl';

interface Mirrored {
  /** Of the instance; what is put there goes away with it. */
  readonly dir: string;
  /** An instance whose policy allows mirrors, started when it is asked for first. */
  readonly caisson: () => Promise<Caisson>;
  /** A sandbox with a mirror. */
  readonly create: (options?: Options) => Promise<Sandbox>;
}

/** For the tests of a suite, after which all of it goes away. */
export function mirrored(): Mirrored {
  const dir = mkdtempSync(`${tmpdir()}/caisson-test-`);
  let started: Promise<Caisson> | undefined;
  const caisson = (): Promise<Caisson> => {
    const shipped = JSON.parse(readFileSync(`${HOME}/profiles/policies/default.json`, 'utf8')) as object;
    writeFileSync(`${dir}/policy.json`, JSON.stringify({ ...shipped, auditMirror: true }));
    return (started ??= startCaisson({ dir }));
  };
  after(async () => {
    await (await started)?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  const create = async (options: Options = {}): Promise<Sandbox> => Sandbox.create({ auditMirror: true, ...options }, { connection: { socket: (await caisson()).paths.apiSocket } });
  return { dir, caisson, create };
}

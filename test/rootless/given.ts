import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const HOME = resolve(import.meta.dirname, '../..');
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;

/** The user that the tests act as: nobody when started as root, else whoever started them. */
export const UID = IS_ROOT ? NOBODY : (process.getuid?.() ?? NOBODY);

/** Whether the file must run again where it may show the checkout to another user. */
export const needsOwnMounts = (): boolean => IS_ROOT && process.env['CAISSON_TEST_MOUNTS'] !== 'own';

/** Runs the file again in a mount namespace of its own; what that run reports becomes the report of this one. */
export function againInOwnMounts(file: string): void {
  const [unshare, ...argv]: [string, ...string[]] = ['unshare', '--mount', '--propagation', 'private', process.execPath, ...process.execArgv, file];
  const child = spawn(unshare, argv, {
    stdio: 'inherit',
    env: { ...process.env, CAISSON_TEST_MOUNTS: 'own' },
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => child.kill(signal));
  child.once('exit', (code) => (process.exitCode = code ?? 1));
}

export interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A user without privilege, with a state directory and a runtime directory of its own. */
export interface Person extends Disposable {
  readonly base: string;
  readonly env: Readonly<Record<string, string>>;
  caisson(...argv: readonly string[]): Answer;
  /** Runs any program as this user, or as another one without privilege. */
  as(uid: number, argv: readonly string[]): Answer;
}

/** The checkout appears below the person's own folder, so that closed folders above it do not matter. */
export function openPerson(): Person {
  const base = mkdtempSync(join(tmpdir(), 'caisson-rootless-'));
  chmodSync(base, 0o755);
  for (const [name, mode] of [['state', 0o755], ['run', 0o700], ['home', 0o700]] as const) {
    mkdirSync(`${base}/${name}`);
    chmodSync(`${base}/${name}`, mode);
    if (IS_ROOT) chownSync(`${base}/${name}`, UID, UID);
  }
  if (IS_ROOT) {
    mkdirSync(`${base}/house`);
    execFileSync('mount', ['--bind', HOME, `${base}/house`]);
  }
  const house = IS_ROOT ? `${base}/house` : HOME;
  const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: `${base}/home`, CAISSON_HOME: house, CAISSON_DIR: `${base}/state`, XDG_RUNTIME_DIR: `${base}/run` };
  const as = (uid: number, argv: readonly string[]): Answer => {
    const drop = IS_ROOT ? ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'] : [];
    const [program = '', ...rest] = [...drop, ...argv];
    const { status, stdout, stderr } = spawnSync(program, rest, { env, cwd: '/', encoding: 'utf8', timeout: 60_000 });
    return { status, stdout, stderr };
  };
  return {
    base, env, as,
    caisson: (...argv) => as(UID, [`${house}/build/node/node`, `${house}/apps/cli/src/main.ts`, ...argv]),
    [Symbol.dispose]() {
      if (IS_ROOT) execFileSync('umount', [`${base}/house`]);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

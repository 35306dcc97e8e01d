import { spawnSync } from 'node:child_process';
import { accessSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Level, RunRequest } from '@caisson/contract';
import { toOci } from '@caisson/isolation';
import { placement, specFor } from './given.ts';

export interface RealRuntime {
  readonly name: string;
  readonly level: Level;
  readonly path: string;
  run(state: string, bundle: string, id: string): readonly string[];
  remove(state: string, id: string): readonly string[];
}

const crunLike = {
  level: 'container' as const,
  run: (state: string, bundle: string, id: string) => ['--root', state, 'run', '--bundle', bundle, id],
  remove: (state: string, id: string) => ['--root', state, 'delete', '--force', id],
};
const gvisorLike = {
  level: 'gvisor' as const,
  run: (state: string, bundle: string, id: string) => [`--root=${state}`, '--network=none', '--oci-seccomp', '--overlay2=none', 'run', `--bundle=${bundle}`, id],
  remove: (state: string, id: string) => [`--root=${state}`, 'delete', '--force', id],
};

const BUILT = join(import.meta.dirname, '../../build/native');

/** Runtimes of this host. RUNSC names a gVisor binary that lies elsewhere. */
export function realRuntimes(): readonly { readonly name: string; readonly found: RealRuntime | null }[] {
  const known = [
    { name: 'crun', ...crunLike },
    { name: 'runc', ...crunLike },
    { name: 'runsc', ...gvisorLike },
  ];
  return known.map((runtime) => {
    const path = (runtime.level === 'gvisor' ? process.env['RUNSC'] : undefined) ?? installed(runtime.name);
    return { name: runtime.name, found: path === null ? null : { ...runtime, path } };
  });
}

function installed(name: string): string | null {
  for (const folder of [BUILT, '/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin']) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return null;
}

export interface Inside {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command in the compiled sandbox by the real runtime, with the command in the place of pid 1. */
export function runInside(runtime: RealRuntime, argv: readonly string[], limits: RunRequest['limits'] = {}): Inside {
  const folder = mkdtempSync(join(tmpdir(), 'caisson-isolation-'));
  const id = basename(folder).toLowerCase();
  const state = join(folder, 'state');
  try {
    writeBundle(folder, { runtime, id, argv, limits });
    // Pipes for stdio, never /dev/null: runtimes change the owner of what they are given.
    const ran = spawnSync('/usr/bin/unshare', ['--mount', 'sh', '-c', HIDE_UNIFIED, 'sh', runtime.path, ...runtime.run(state, folder, id)], {
      input: '',
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status: ran.status, stdout: ran.stdout, stderr: ran.stderr };
  } finally {
    spawnSync('/usr/bin/unshare', ['--mount', 'sh', '-c', HIDE_UNIFIED, 'sh', runtime.path, ...runtime.remove(state, id)], { stdio: ['pipe', 'pipe', 'pipe'] });
    rmSync(folder, { recursive: true, force: true });
  }
}

/** crun before 1.9 refuses a hybrid cgroup mount that it can see. */
const HIDE_UNIFIED = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"';

function writeBundle(folder: string, { runtime, id, argv, limits }: { readonly runtime: RealRuntime; readonly id: string; readonly argv: readonly string[]; readonly limits: RunRequest['limits'] }): void {
  const rootfs = join(folder, 'rootfs');
  for (const name of ['.caisson', 'dev', 'etc', 'mnt', 'proc', 'sys', 'tmp', 'usr', 'workspace']) mkdirSync(join(rootfs, name), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(rootfs, name));
  writeFileSync(join(rootfs, '.caisson/init'), '');
  writeFileSync(join(rootfs, 'etc/passwd'), 'agent:x:1000:1000::/workspace:/bin/sh\n');
  writeFileSync(join(rootfs, 'etc/hosts'), '127.0.0.1 localhost\n');
  for (const name of ['ld.so.cache', 'alternatives']) if (existsSync(`/etc/${name}`)) cpSync(`/etc/${name}`, join(rootfs, 'etc', name), { recursive: true, verbatimSymlinks: true });
  // chmod by argv, because the mode given to mkdir passes through the umask.
  spawnSync('/usr/bin/chmod', ['755', folder, rootfs]);
  spawnSync('/usr/bin/chmod', ['1777', join(rootfs, 'tmp')]);
  spawnSync('/usr/bin/chmod', ['700', join(rootfs, 'workspace')]);
  const config = toOci(specFor({ level: runtime.level, ...(limits === undefined ? {} : { limits }) }), {
    ...placement,
    rootfs,
    initPath: '/bin/true',
    cgroupsPath: `/${id}`,
    arch: process.arch,
    swapAccounting: existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes'),
    socketLimit: existsSync('/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes'),
  });
  const env = ['PATH=/usr/local/bin:/usr/bin:/bin', 'HOME=/workspace', 'TMPDIR=/tmp', 'LANG=C.UTF-8'];
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, process: { ...config.process, args: argv, env, cwd: '/workspace' } }));
}

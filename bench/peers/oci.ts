import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { output, runProgram, which, type Ground, type OpenPeer, type Peer } from './peer.ts';

/** crun refuses a host that mounts both cgroup versions; it is given one that shows the first only. */
const WITHOUT_UNIFIED = ['unshare', '-m', 'sh', '-c', 'umount /sys/fs/cgroup/unified && exec "$@"', 'sh'];

interface OciRuntime {
  readonly name: string;
  /** Options before the verb. */
  readonly options: readonly string[];
  readonly hybridNeeds: readonly string[];
  /** Whether it saves and restores memory. */
  readonly checkpoint: boolean;
  path(ground: Ground): Promise<string | undefined>;
}

export const OCI_PEERS: readonly Peer[] = [
  { name: 'crun', options: [], hybridNeeds: WITHOUT_UNIFIED, checkpoint: false, path: () => which('crun') },
  { name: 'runc', options: [], hybridNeeds: [], checkpoint: false, path: () => which('runc') },
  { name: 'runsc', options: ['--network=none', '--ignore-cgroups'], hybridNeeds: [], checkpoint: true, path: findRunsc },
].map((runtime) => ({ name: runtime.name, open: (ground) => openRuntime(runtime, ground) }));

async function findRunsc({ root }: Ground): Promise<string | undefined> {
  const built = join(root, 'build/native/runsc');
  return existsSync(built) ? built : which('runsc');
}

async function openRuntime(runtime: OciRuntime, ground: Ground): Promise<OpenPeer | string> {
  const path = await runtime.path(ground);
  if (path === undefined) return `${runtime.name} is not here`;
  if (process.getuid?.() !== 0) return `${runtime.name} is measured as root only`;
  const { scratch, rootfs } = ground;
  const [runBundle, holdBundle] = [join(scratch, 'run'), join(scratch, 'hold')];
  await writeBundle(runBundle, rootfs, ['/true']);
  await writeBundle(holdBundle, rootfs, ['/true', 'hold']);
  const own = [path, '--root', join(scratch, 'state'), ...runtime.options];
  const under = existsSync('/sys/fs/cgroup/unified') ? runtime.hybridNeeds : [];
  const id = `bench-hold-${process.pid}`;

  const close = async (): Promise<void> => {
    const { stdout } = await output([...under, ...own, 'list', '--quiet']);
    for (const held of stdout.split('\n').filter((each) => each !== '')) await runProgram([...under, ...own, 'delete', '--force', held]);
    // runsc keeps a network namespace mounted in its state directory.
    const netns = join(scratch, 'state/null-netns');
    if (existsSync(netns)) await runProgram(['umount', netns]);
  };
  const started = await runProgram([...under, ...own, 'run', '--detach', '--bundle', holdBundle, id]);
  if (started.status !== 0) {
    await close();
    return `${runtime.name} does not start a container here: ${started.stderr.trim()}`;
  }
  const saved = join(scratch, 'saved');
  const kept = runtime.checkpoint && (await runProgram([...under, ...own, 'checkpoint', '--leave-running', '--image-path', saved, id])).status === 0;
  return {
    under,
    run: [...own, 'run', '--bundle', runBundle, 'bench-{n}'],
    exec: [...own, 'exec', id, '/true'],
    ...(kept && { restore: [...own, 'restore', '--detach', '--bundle', holdBundle, '--image-path', saved, 'bench-restored-{n}'] }),
    [Symbol.asyncDispose]: close,
  };
}

/** The least that an OCI runtime starts: own namespaces, no limits, no filter. Faster than anything that protects. */
async function writeBundle(bundle: string, rootfs: string, args: readonly string[]): Promise<void> {
  await mkdir(bundle, { recursive: true });
  const config = {
    ociVersion: '1.0.2',
    process: { user: { uid: 1000, gid: 1000 }, args, cwd: '/', env: ['PATH=/'], noNewPrivileges: true },
    root: { path: rootfs, readonly: true },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: { namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })) },
  };
  await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
}

import { CaissonError, DENIALS_FOLDER, MIRROR_PATH, SECRETS_FOLDER, TRUST_FOLDER, type IsolationSpec, type Mount } from '@caisson/contract';

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** Files of one sandbox alone, by which it trusts an authority that no other does. */
export interface TrustPlace {
  /** Folder that lies over TRUST_FOLDER. */
  readonly folder: string;
  /** Lists of authorities of the image, by their places without links, and the files that lie over them. */
  readonly lists: readonly { readonly at: string; readonly source: string }[];
}

/** Where the launcher keeps what a sandbox sees of the host. */
interface Sources {
  readonly rootfs: string;
  readonly initPath: string;
  /** The folder that holds the sandbox's workspace, where its spec mounts one. */
  readonly workspace?: string | undefined;
  readonly trust?: TrustPlace | undefined;
  /** The folder in which the gate says what it has refused to the sandbox, where its spec mounts it. */
  readonly denials?: string | undefined;
  /** The folder that holds the sandbox's secrets, where its spec mounts them. */
  readonly secrets?: string | undefined;
  /** The file that holds the records of the sandbox's own calls, where its spec mounts it. */
  readonly mirror?: string | undefined;
}

/** The mounts of config.md, "Mounts", that one mount of the spec is. Only here does it get a source, and only two of them are the host's. */
export function toOciMounts(mount: Mount, spec: Pick<IsolationSpec, 'user' | 'level'>, sources: Sources): readonly OciMount[] {
  if (mount.kind === 'mirror') return [mirrorMount(sources)];
  return mount.kind === 'trust' ? trustMounts(sources) : [toOciMount(mount, spec, sources)];
}

/**
 * Their inodes are the sandbox's own already. @throws CaissonError LAUNCH_FAILED rather than that a sandbox is told to trust
 * an authority that it knows nothing of
 */
function trustMounts({ trust }: Sources): readonly OciMount[] {
  if (trust === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'the certificate that it trusts was not written' });
  return [readOnlyBind(trust.folder, TRUST_FOLDER), ...trust.lists.map(({ at, source }) => readOnlyBind(source, at))];
}

function mirrorMount({ mirror }: Sources): OciMount {
  if (mirror === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'there is no mirror of its records' });
  return { destination: MIRROR_PATH, type: 'bind', source: mirror, options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'] };
}

function toOciMount(mount: Exclude<Mount, { kind: 'trust' | 'mirror' }>, { user, level }: Pick<IsolationSpec, 'user' | 'level'>, { rootfs, initPath, workspace, denials, secrets }: Sources): OciMount {
  const empty = `${rootfs}/mnt`; // nothing is ever mounted there: a mount point could show what lies over it by now
  const ownOrBind = (source: string, at: string): OciMount => (level === 'container' ? ownInodes(source, at, empty) : readOnlyBind(source, at));
  switch (mount.kind) {
    case 'proc':
      return { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] };
    case 'dev':
      return { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'] };
    case 'pts':
      // Of its own without being told: every mount of devpts is an instance since Linux 4.7 (devpts.rst). No gid: none is mapped.
      return { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', `max=${mount.terminals}`] };
    case 'usr':
      return ownOrBind('/usr', '/usr');
    case 'etc':
      return ownOrBind(`${rootfs}/etc`, '/etc');
    case 'init':
      return level === 'container' ? ownInodes(`${rootfs}/.caisson`, '/.caisson', empty) : readOnlyBind(initPath, '/.caisson/init');
    case 'denials':
      if (denials === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'there is no place where the gate could say what it refuses' });
      return { destination: DENIALS_FOLDER, type: 'bind', source: denials, options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'] };
    case 'secrets':
      if (secrets === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: 'the files of its secrets were not written' });
      // Of a tmpfs that is mounted noexec, which a user namespace cannot take off.
      return { destination: SECRETS_FOLDER, type: 'bind', source: secrets, options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'] };
    case 'workspace':
      // A source that is empty is no refusal to every runtime: runc takes it for the folder of the bundle.
      if (workspace === undefined) throw new CaissonError('FLOOR_VIOLATED', { violations: 'it mounts a workspace where none is attached' });
      return { destination: '/workspace', type: 'bind', source: workspace, options: ['bind', 'rw', 'nosuid', 'nodev'] };
    case 'tmpfs': {
      const options = [...tmpfsOptions(mount.at, user), `size=${mount.bytes}`, `nr_inodes=${mount.inodes}`];
      return { destination: mount.at, type: 'tmpfs', source: 'tmpfs', options };
    }
  }
}

/**
 * A read-only view with inodes of its own. A bind mount would share the host's: a watch on them tells which programs
 * others run, and a lock on them is a signal between sandboxes. Two lower layers, of which one is empty, make an
 * overlay that cannot be written (overlayfs.rst, "Multiple lower layers"). gVisor keeps inodes of its own anyway.
 */
function ownInodes(source: string, destination: string, empty: string): OciMount {
  return { destination, type: 'overlay', source: 'overlay', options: ['ro', 'nosuid', 'nodev', `lowerdir=${source}:${empty}`] };
}

function readOnlyBind(source: string, destination: string): OciMount {
  return { destination, type: 'bind', source, options: ['bind', 'ro', 'nosuid', 'nodev'] };
}

function tmpfsOptions(at: '/dev/shm' | '/tmp' | '/workspace', user: IsolationSpec['user']): readonly string[] {
  switch (at) {
    case '/dev/shm': return ['nosuid', 'noexec', 'nodev', 'mode=1777'];
    case '/tmp': return ['nosuid', 'nodev', 'mode=1777'];
    case '/workspace': return ['nosuid', 'nodev', 'mode=0700', `uid=${user.uid}`, `gid=${user.gid}`];
  }
}

import type { IsolationSpec, Mount } from '@caisson/contract';

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** The mounts of config.md, "Mounts". Only here does a mount of the spec get a source, and only two of them are the host's. */
export function toOciMount(mount: Mount, user: IsolationSpec['user'], initPath: string): OciMount {
  switch (mount.kind) {
    case 'proc':
      return { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] };
    case 'dev':
      return { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'] };
    case 'pts':
      // Without the usual gid=5: that group is not mapped inside.
      return { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'] };
    case 'usr':
      return readOnlyBind('/usr', '/usr');
    case 'init':
      return readOnlyBind(initPath, '/.caisson/init');
    case 'tmpfs': {
      const options = [...tmpfsOptions(mount.at, user), `size=${mount.bytes}`, `nr_inodes=${mount.inodes}`];
      return { destination: mount.at, type: 'tmpfs', source: 'tmpfs', options };
    }
  }
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

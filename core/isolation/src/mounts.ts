import { MIB } from '@caisson/contract';
import type { Mechanism } from './mechanism.ts';

const SHM_BYTES_MAX = 64 * MIB;

/**
 * All that can be seen: a fixed set in mount order, in which only sizes differ. Whatever is writable is a sized tmpfs
 * that goes away with the sandbox. There is no sysfs: it shows the host's hardware, and programs do without it. There
 * are no terminals: the kernel does their work in threads of its own, beyond every limit of the sandbox.
 */
export const mounts: Mechanism<'mounts' | 'readOnlyRoot' | 'image'> = ({ decision: { limits } }) => ({
  image: 'host',
  readOnlyRoot: true,
  mounts: [
    { kind: 'proc' },
    { kind: 'dev' },
    { kind: 'tmpfs', at: '/dev/shm', bytes: Math.min(SHM_BYTES_MAX, Math.floor(limits.memoryBytes / 8)), inodes: limits.inodes },
    { kind: 'usr' },
    { kind: 'etc' },
    { kind: 'init' },
    { kind: 'tmpfs', at: '/tmp', bytes: limits.tmpBytes, inodes: limits.inodes },
    { kind: 'tmpfs', at: '/workspace', bytes: limits.workspaceBytes, inodes: limits.inodes },
  ],
});

import { MIB } from '@caisson/contract';
import type { Mechanism } from './mechanism.ts';

const SHM_BYTES_MAX = 64 * MIB;
/** Enough for a shell, an editor and a terminal multiplexer with some windows. The host has 3072 for all its sandboxes. */
const TERMINALS = 16;

/**
 * All that can be seen: a fixed set in mount order, in which only sizes differ. Whatever is writable is a sized tmpfs
 * that goes away with the sandbox, or a workspace whose file system is as large as it may be. There is no sysfs: it shows the host's hardware, and programs do without it. There
 * are terminals only where they are asked for, and few: the kernel does their work in threads of its own, beyond every limit
 * of the sandbox.
 */
export const mounts: Mechanism<'mounts' | 'readOnlyRoot' | 'image'> = ({ decision: { limits }, image = 'host', workspace, terminals, certificate, network = false, secrets, mirror }) => ({
  image,
  readOnlyRoot: true,
  mounts: [
    { kind: 'proc' },
    { kind: 'dev' },
    ...(terminals === true ? [{ kind: 'pts', terminals: TERMINALS } as const] : []),
    { kind: 'tmpfs', at: '/dev/shm', bytes: Math.min(SHM_BYTES_MAX, Math.floor(limits.memoryBytes / 8)), inodes: limits.inodes },
    // The root of any other image has both.
    ...(image === 'host' ? ([{ kind: 'usr' }, { kind: 'etc' }] as const) : []),
    ...(certificate === undefined ? [] : [{ kind: 'trust', certificate } as const]),
    ...(network ? [{ kind: 'denials' } as const] : []),
    ...(secrets === undefined ? [] : [{ kind: 'secrets', ...secrets } as const]),
    { kind: 'init' },
    { kind: 'tmpfs', at: '/tmp', bytes: limits.tmpBytes, inodes: limits.inodes },
    workspace === undefined ? { kind: 'tmpfs', at: '/workspace', bytes: limits.workspaceBytes, inodes: limits.inodes } : { kind: 'workspace', workspace },
    ...(mirror === undefined ? [] : [{ kind: 'mirror', ...mirror } as const]),
  ],
});

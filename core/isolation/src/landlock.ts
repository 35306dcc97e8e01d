import type { Mechanism } from './mechanism.ts';

/**
 * At container level pid 1 confines itself and all its descendants, so that a mistake in mounts or modes does not
 * open the host's files. Kernels of the sandbox's own have nothing of the host to confine, and gVisor has no Landlock.
 */
export const landlock: Mechanism<'landlock'> = ({ decision }) => ({ landlock: decision.level === 'container' });

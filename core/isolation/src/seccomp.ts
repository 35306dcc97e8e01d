import type { Mechanism } from './mechanism.ts';

/** The filter is data, the same at every level: inside gVisor it is applied by gVisor's own kernel. */
export const seccomp: Mechanism<'seccomp'> = (input) => ({ seccomp: input.seccomp });

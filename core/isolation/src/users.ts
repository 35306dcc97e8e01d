import type { Mechanism } from './mechanism.ts';

/**
 * One unprivileged identity inside. On the host it is a uid that no other sandbox has, so that neither files nor
 * signals nor per-user resource counts are shared. Above it the kernel counts for the owner of the user namespace:
 * user-counts.ts.
 */
export const users: Mechanism<'user'> = () => ({ user: { uid: 1000, gid: 1000 } });

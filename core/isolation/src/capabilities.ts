import type { Mechanism } from './mechanism.ts';

/** None, and no way to gain any: set-user-id programs and file capabilities have no effect (prctl(2), PR_SET_NO_NEW_PRIVS). */
export const capabilities: Mechanism<'capabilities' | 'noNewPrivileges'> = () => ({
  capabilities: [],
  noNewPrivileges: true,
});

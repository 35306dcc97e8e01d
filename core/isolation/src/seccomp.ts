import type { Mechanism } from './mechanism.ts';

/** The filter is data; a rule may be for one level only. Inside gVisor it is applied by gVisor's own kernel. */
export const seccomp: Mechanism<'seccomp'> = ({ seccomp: { defaultErrno, rules }, decision }) => ({
  seccomp: { defaultErrno, rules: rules.filter(({ level }) => level === undefined || level === decision.level) },
});

import type { Mechanism } from './mechanism.ts';

/** What the control groups of the sandbox hold it to: the limits that were decided, unchanged. */
export const cgroups: Mechanism<'limits'> = ({ decision }) => ({ limits: decision.limits });

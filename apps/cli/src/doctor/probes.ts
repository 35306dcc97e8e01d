import type { Probe } from './probe.ts';
import { FILES } from './probes/files.ts';
import { KERNEL } from './probes/kernel.ts';
import { NETWORK } from './probes/network.ts';
import { PRIVILEGE } from './probes/privilege.ts';
import { PROCESSES } from './probes/processes.ts';
import { RESOURCES } from './probes/resources.ts';

/** Every attack, in the order of the report. */
export const PROBES: readonly Probe[] = [...PRIVILEGE, ...KERNEL, ...FILES, ...PROCESSES, ...NETWORK, ...RESOURCES];

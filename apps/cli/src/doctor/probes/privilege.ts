import { together, type Probe } from '../probe.ts';

const COOPERATIVE = 'the kernel of gVisor keeps niceness as a number and schedules nothing by it';

export const PRIVILEGE: readonly Probe[] = together('privilege', [
  ['uid-zero', 'be user or group 0', 'RX-04 RX-14 H3', 'root'],
  ['capabilities', 'hold a capability in any of its five sets', 'RX-04 BB-11 H3', 'root'],
  ['take-capability', 'take a capability', 'RX-04 BB-16', 'root'],
  ['set-ids', 'become another user or group', 'RX-04 BB-16', 'root'],
  ['set-uid-program', 'gain the owner’s rights by a set-uid program', 'RX-04 RL-07', 'root'],
  ['no-new-privileges', 'run without no_new_privs', 'RX-04 RX-14 RL-07', 'root'],
  ['seccomp-mode', 'run without a system call filter', 'RX-04 RX-14 BB-16', 'root'],
  ['raise-rlimit', 'raise a hard limit', 'H3', 'root'],
  ['raise-priority', 'run before others by a better nice value', 'H3', 'root', { gvisor: COOPERATIVE }],
  ['real-time', 'run before others by real-time scheduling', 'H3 RL-06', 'root'],
  ['environment', 'find a variable of the host in its environment', 'H4 H10', 'root'],
]);

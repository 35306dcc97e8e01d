import { together, type Probe } from '../probe.ts';

const OWN_DEVICE = 'the node belongs to the kernel of gVisor and leads nowhere on the host';

export const FILES: readonly Probe[] = together('files', [
  ['read-shadow', 'read /etc/shadow', 'RL-08 RL-15 BB-01', 'root'],
  ['read-host-root', 'read a file of the host’s /root', 'RL-08 BB-01 RX-05', 'canary'],
  ['read-host-home', 'read a file of the host’s /home', 'RL-08 BB-01 RX-05', 'canary'],
  ['read-host-tmp', 'read a file of the host’s /tmp', 'RL-08 BB-01 RX-05', 'canary'],
  ['route-dot-dot', 'reach the host’s files by .. and /proc/self/root', 'H7 BB-01', 'canary'],
  ['route-init', 'reach the host’s files through pid 1', 'H7 BB-01', 'canary'],
  ['search-host-files', 'find a file of the host anywhere', 'RL-08 RX-05 H6', 'canary'],
  ['symlink-swap', 'reach the host’s files by swapping a directory for a link', 'H7', 'canary'],
  ['hard-link', 'link to a file of the host', 'H7 H8', 'spared'],
  ['create-in-root', 'create a file in /', 'RX-14 RL-07 H3', 'root'],
  ['create-in-usr', 'create a file in /usr', 'RX-14 RL-07 H3', 'root'],
  ['create-in-etc', 'create a file in /etc', 'RX-14 RL-07 H3', 'root'],
  ['device-memory', 'open the memory of the machine', 'BB-15', 'root'],
  ['device-kernel-log', 'open the kernel log', 'BB-15', 'root'],
  ['device-disk', 'open a disk', 'BB-15', 'root'],
  ['device-kvm', 'open the virtual machine monitor', 'BB-15', 'root'],
  ['device-fuse', 'open FUSE', 'BB-15', 'root', { gvisor: OWN_DEVICE }],
  ['device-tun', 'open a network tunnel', 'BB-15', 'root', { gvisor: OWN_DEVICE }],
  ['device-userfaultfd', 'open the page fault device', 'BB-15', 'root'],
  ['device-terminal', 'open a terminal of the host', 'BB-15', 'root'],
  ['device-extra', 'find a device that no container has', 'BB-15 H6', 'root'],
  ['control-sockets', 'find the socket of a container engine or of Caisson', 'BB-15 H4 H6', 'canary'],
]);

import { together, type Probe } from '../probe.ts';

export const NETWORK: readonly Probe[] = together('network', [
  ['interfaces', 'see an interface other than lo', 'BB-11 RL-03', 'root'],
  ['tcp-host', 'connect to the host by TCP', 'RL-03 RL-13', 'listener'],
  ['tcp6-host', 'connect to the host by TCP over IPv6', 'RL-03 RL-13', 'listener'],
  ['udp-host', 'exchange UDP packets with the host', 'RL-03 RL-13', 'listener'],
  ['metadata', 'connect to the metadata address of clouds', 'RL-03 RL-13', 'stage'],
  ['dns', 'send a DNS query', 'RL-03 RL-13', 'stage'],
  ['dns6', 'send a DNS query over IPv6', 'RL-03 RL-13', 'stage'],
  ['abstract-socket', 'connect to an abstract Unix socket of the host', 'RL-03 BB-01', 'listener'],
  ['path-socket', 'connect to a Unix socket file of the host', 'BB-15 BB-01', 'listener'],
  ['raw-socket', 'open a raw socket', 'BB-11 RL-03', 'root'],
  ['packet-socket', 'open a packet socket', 'BB-11 RL-03', 'root'],
  ['vsock', 'open a socket to the hypervisor', 'RL-03', 'root'],
  ['kernel-crypto', 'open a socket to the kernel’s cryptography', 'H1', 'root'],
  ['other-families', 'open a socket of any other family', 'H1 RL-03', 'root'],
  ['netlink-address', 'give an interface an address', 'BB-11', 'root'],
  ['netlink-link', 'make an interface', 'BB-11', 'root'],
]);
